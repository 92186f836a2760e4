/*
 * mux.js: many channels of a mux server on one connection.
 *
 *   Feed      what a page has: its channels, where each of them is, and the connection that serves them
 *   Socket    a connection by WebSocket, in the JSON protocol of Centrifugo's SDKs
 *   Stream    a connection by Server-Sent Events, where no WebSocket passes
 *
 * Every message is given once and in order: a channel takes messages from one connection at a time, and none at or
 * below its offset. So a new connection may open while the old one still serves.
 */
"use strict";
{
  const OPENING_MS = 10000;
  const RETRY_MS = 250;           // the pause before a try is between 0 and this, then twice this, and so on
  const LAST_RETRY_MS = 20000;
  const STABLE_MS = 5000;         // after a connection that lasted longer, pauses begin anew
  const SOCKET_TRIES = 2;         // failures until a Stream is tried
  const RETURN_MS = 60000;        // from a Stream, a Socket is tried again
  const SILENCE_MS = 55000;       // a Stream without even a heartbeat for so long is dead
  const COMMANDS_PER_FRAME = 100;
  const TOKEN_EXPIRED = 109;

  const pause = (attempts) => Math.random() * Math.min(LAST_RETRY_MS, RETRY_MS * 2 ** attempts);

  /** Return the bytes of a base64 text, or something else if it is none: anybody may publish anything. */
  function bytesOf(base64, otherwise) {
    try {
      return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    } catch {
      return otherwise;
    }
  }

  class Feed {
    /** url is where the server is; token returns a token, or a promise of one, whenever one is needed. */
    constructor(url, { token = () => "", path = "feed" } = {}) {
      this.url = new URL(`${url}`.replace(/\/*$/, "/"), location.href);
      this.token = token;
      this.path = path;
      this.state = "connecting";
      this.channels = new Map();
      this.listeners = { __proto__: null, state: new Set(), missed: new Set(), refused: new Set() };
      this.link = this.next = null;  // the connection that serves, and one that opens
      this.failures = this.attempts = 0;
      this.connect();
    }

    /** Call handler(data, {channel, position, replayed}) with each message; first with the `last` that there were. */
    on(name, handler, { last = 0 } = {}) {
      if (!this.listeners[name] && !this.channels.has(name)) {
        this.channels.set(name, { name, last, handlers: new Set(), link: null, epoch: undefined, offset: 0 });
        this.change();
      }
      (this.listeners[name] ?? this.channels.get(name).handlers).add(handler);
    }

    /** Stop calling a handler; without one, all of them. */
    off(name, handler) {
      const handlers = this.listeners[name] ?? this.channels.get(name)?.handlers;
      if (handler) handlers?.delete(handler);
      else handlers?.clear();
      if (handlers?.size === 0 && this.channels.delete(name)) this.change();
    }

    /** Publish data as JSON; return a promise that is kept when the server has it, and else broken with a sentence. */
    async publish(name, data) {
      if (!this.link) throw new Error("not connected: nothing was published");
      await this.link.publish(name, data);
    }

    close(why = "closed by the page") {
      clearTimeout(this.timer);
      this.link?.close();
      this.next?.close();
      this.link = this.next = null;
      this.tell("closed", why);
    }

    tell(state, why) {
      if (this.state === state || this.state === "closed") return;
      this.state = state;
      this.call(this.listeners.state, state, why);
    }

    call(handlers, ...what) {
      for (const handler of handlers) {
        try {
          handler(...what);
        } catch (error) {
          reportError(error);
        }
      }
    }

    /** Have the connections follow the channels, once for all that a page changes in one go. */
    change() {
      clearTimeout(this.changing);
      this.changing = setTimeout(() => {
        this.link?.follow();
        this.next?.follow();
      });
    }

    /** Give a message to the page, unless another connection serves its channel or has brought it already. */
    take(link, channel, data, offset, replayed, name = channel.name) {
      if (channel.link !== link || offset <= channel.offset) return;
      channel.offset = offset ?? 0;
      const position = offset ? `${channel.epoch}-${offset}` : "";
      this.call(channel.handlers, data, { channel: name, position, replayed });
    }

    /** Let a channel begin on a connection, or on the next one; when it had begun before, messages may be missing. */
    begin(channel, link = null, epoch = undefined) {
      const hadBegun = channel.link;
      Object.assign(channel, { link, epoch, offset: 0 });
      if (hadBegun) this.call(this.listeners.missed, channel.name);
    }

    /** Move channels on to an offset up to which a connection has brought everything, also to those that were quiet. */
    settle(link, epoch, offset) {
      for (const channel of this.channels.values()) {
        if (channel.link !== link || channel.isBehind || (channel.epoch ?? epoch) !== epoch) continue;
        channel.epoch = epoch;
        channel.offset = Math.max(channel.offset, offset);
      }
    }

    async connect(Link = this.failures < SOCKET_TRIES ? Socket : Stream) {
      clearTimeout(this.timer);
      this.next?.close();
      const next = this.next = new Link(this);
      try {
        const token = await this.token();
        if (next === this.next) next.open(token);
      } catch (error) {
        if (next === this.next) this.down(next, String(error));
      }
    }

    /** Open another connection before a server leaves, and use this one until then. */
    replace(link) {
      if (link === this.link && !this.next) this.connect();
    }

    /** Use a connection that serves all channels, and leave the one before it. */
    up(link) {
      if (link !== this.next) return;
      this.link?.leave();
      this.link = link;
      this.next = null;
      link.upAt = performance.now();
      if (link instanceof Socket) this.failures = 0;
      else this.timer = setTimeout(() => this.connect(Socket), RETURN_MS);
      this.tell("live");
    }

    down(link, why, isFinal) {
      link.close();
      if (isFinal) return this.close(why);
      if (link === this.link) {
        this.link = null;
        if (performance.now() - link.upAt > STABLE_MS) this.attempts = 0;
        this.tell("stale", why);
      } else if (link === this.next) {
        this.next = null;
        this.failures = link instanceof Socket ? this.failures + 1 : 0;
      } else {
        return;
      }
      if (this.next) return;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.connect(), this.link instanceof Stream ? RETURN_MS : pause(this.attempts++));
    }
  }

  class Socket {
    constructor(feed) {
      this.feed = feed;
      this.asked = new Map();     // the channels that are subscribed to, or will be
      this.replies = new Map();   // what to do with the reply to each command
      this.unconfirmed = new Set();
      this.commands = [];
      this.id = this.joining = 0;
      this.epoch = undefined;
      this.top = this.mark = 0;   // the highest offset that came; and the one by the last ping
    }

    open(token) {
      const url = new URL("connection/websocket", this.feed.url);
      url.protocol = url.protocol.replace("http", "ws");
      const socket = this.socket = new WebSocket(url);
      this.watch(OPENING_MS);
      socket.onopen = () => {
        const what = { token: token || undefined, name: "mux.js", data: { mux: { notice: true } } };
        this.ask("connect", what, (reply) => this.opened(reply));
        this.follow();
      };
      socket.onmessage = ({ data }) => {
        for (const line of data.split("\n")) if (line) this.took(JSON.parse(line));
      };
      socket.onclose = ({ code, reason }) => {
        this.feed.down(this, reason || `closed with ${code}`, /^[34][5-9]/.test(code));
      };
    }

    opened({ error, connect }) {
      if (error) return this.feed.down(this, error.message, !error.temporary && error.code !== TOKEN_EXPIRED);
      this.silence = 1000 * connect.ping + OPENING_MS;
      this.watch(this.silence);
      this.renew(connect);
      if (!this.joining) this.feed.up(this);
    }

    /** End the connection, unless this is called again in time. */
    watch(ms) {
      clearTimeout(this.watching);
      this.watching = setTimeout(() => this.feed.down(this, "the server is silent"), ms);
    }

    /** Send a new token when the old one ends. When there is none the server closes, and the next connection asks. */
    renew({ expires, ttl }) {
      if (!expires) return;
      this.renewing = setTimeout(async () => {
        try {
          const token = await this.feed.token();
          this.ask("refresh", { token }, ({ refresh }) => this.renew(refresh ?? {}));
          this.flush();
        } catch (error) {
          reportError(error);
        }
      }, Math.min(1000 * ttl, 2 ** 31 - 1));
    }

    ask(method, what, then) {
      this.replies.set(++this.id, then);
      this.commands.push(JSON.stringify({ id: this.id, [method]: what }));
    }

    flush() {
      while (this.commands.length) this.socket.send(this.commands.splice(0, COMMANDS_PER_FRAME).join("\n"));
    }

    /** Subscribe to what the page wants now, and to nothing else. */
    follow() {
      if (this.isLeft || this.socket?.readyState !== WebSocket.OPEN) return;
      const { channels } = this.feed;
      for (const [name, channel] of this.asked) {
        if (channels.get(name) === channel) continue;
        this.asked.delete(name);
        this.ask("unsubscribe", { channel: name }, () => {});
      }
      for (const [name, channel] of channels) if (!this.asked.has(name)) this.subscribe(name, channel);
      this.flush();
    }

    subscribe(name, channel) {
      const { epoch, offset, last } = channel;
      const since = epoch ? { recover: true, epoch, offset } : last ? { data: { mux: { last } } } : {};
      this.asked.set(name, channel);
      channel.isBehind = true;  // until the reply, so that settle() leaves it where this asks it to go on
      this.joining += 1;
      this.ask("subscribe", { channel: name, ...since }, ({ error, subscribe }) => {
        this.joining -= 1;
        if (this.asked.get(name) === channel) {
          if (subscribe) this.joined(channel, subscribe);
          else if (error.temporary) setTimeout(() => this.asked.delete(name) && this.follow(), pause(5));
          else this.feed.call(this.feed.listeners.refused, name, error.message);
        }
        if (!this.joining) this.feed.up(this);
      });
    }

    joined(channel, { recovered, epoch, offset = 0, publications = [], mux }) {
      if (!recovered) this.feed.begin(channel, this, epoch);
      channel.link = this;
      channel.isBehind = mux?.more;
      for (const publication of publications) this.give(channel, publication, true);
      if (!channel.isBehind) channel.offset = Math.max(channel.offset, offset);
      if (epoch !== this.epoch) this.top = this.mark = 0;
      this.epoch = epoch;
      this.top = Math.max(this.top, offset);
    }

    give(channel, { data, offset, tags }, replayed) {
      // After a gap there are no offsets until the channel is subscribed to anew, and then this comes again.
      if (channel.epoch && !offset) return;
      this.top = Math.max(this.top, offset ?? 0);
      const isBytes = typeof data?.b64 === "string";
      this.feed.take(this, channel, isBytes ? bytesOf(data.b64, data) : data, offset, replayed, tags?.channel);
    }

    took({ id, push, ...reply }) {
      if (id) {
        this.replies.get(id)?.(reply);
        this.replies.delete(id);
        if (this.isLeft) this.leave();
      } else if (push) {
        this.pushed(push, this.asked.get(push.channel));
      } else {
        this.socket.send("{}");
        this.watch(this.silence);
        this.feed.settle(this, this.epoch, this.mark);
        this.mark = this.top;
      }
    }

    pushed({ pub, unsubscribe, disconnect }, channel) {
      if (disconnect) this.feed.replace(this);
      if (!channel) return;
      if (pub) this.give(channel, pub, false);
      if (unsubscribe?.code < 2500) this.feed.call(this.feed.listeners.refused, channel.name, unsubscribe.reason);
      else if (unsubscribe) this.asked.delete(channel.name) && this.follow();
    }

    publish(channel, data) {
      return new Promise((resolve, reject) => {
        this.unconfirmed.add(reject);
        this.ask("publish", { channel, data }, ({ error }) => {
          this.unconfirmed.delete(reject);
          if (error) reject(new Error(error.message));
          else resolve();
        });
        this.flush();
      });
    }

    /** Close as soon as all that was published has its answer. */
    leave() {
      this.isLeft = true;
      if (!this.unconfirmed.size) this.close();
    }

    close() {
      clearTimeout(this.watching);
      clearTimeout(this.renewing);
      if (this.socket) this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
      this.socket?.close();
      this.asked.clear();
      this.replies.clear();
      for (const reject of this.unconfirmed) reject(new Error("the connection ended: it may be published, or not"));
      this.unconfirmed.clear();
    }
  }

  class Stream {
    constructor(feed) {
      this.feed = feed;
      this.asked = new Map();
      this.isReplaying = true;  // until a heartbeat
    }

    open(token) {
      const { feed } = this;
      this.token = token;
      feed.link?.settle?.();
      const [known, fresh] = [[], []];
      for (const channel of feed.channels.values()) (channel.link ? known : fresh).push(channel);
      // One position is for all channels: where the one is that is furthest behind.
      const epoch = known[0]?.epoch;
      const canResume = epoch && known.every((channel) => channel.epoch === epoch);
      if (!canResume) for (const channel of known) feed.begin(channel);
      // A stream that resumes has no `last`; so channels that are new have one of their own first, for what they had.
      const isForFresh = canResume && fresh.some(({ last }) => last);
      this.asked = isForFresh ? new Map(fresh.map((channel) => [channel.name, channel])) : new Map(feed.channels);
      if (!this.asked.size) return feed.up(this);
      const offset = Math.min(...known.map((channel) => channel.offset));
      this.listen(canResume && !isForFresh ? `${epoch}-${offset}` : "", isForFresh);
    }

    listen(since, isForFresh) {
      const { feed } = this;
      const asked = [...this.asked.values()];
      this.wild = asked.filter(({ name }) => name.endsWith("*"));
      const query = new URLSearchParams({ channel: [...this.asked.keys()].join(" ") });
      if (since) query.set("last_event_id", since);
      else query.set("last", Math.max(...asked.map(({ last }) => last)));
      if (this.token) query.set("token", this.token);
      const source = this.source = new EventSource(`${new URL(feed.path, feed.url)}?${query}`);
      this.watch();
      source.onerror = () => feed.down(this, "the stream ended");
      source.onopen = () => {
        for (const channel of asked) Object.assign(channel, { link: this, isBehind: false });
        if (!isForFresh) feed.up(this);
      };
      const hear = (name, then) => source.addEventListener(name, ({ data, lastEventId }) => {
        this.watch();
        const [, epoch, offset = 0] = /^(\w+)-(\d+)$/.exec(lastEventId) ?? [];
        Object.assign(this, { epoch, offset: Number(offset) });
        then(data && JSON.parse(data));
      });
      hear("position", () => {
        this.isReplaying = false;
        if (isForFresh) feed.connect(Stream);
      });
      hear("message", (message) => this.give(message));
      hear("missed", ({ channels = [...this.asked.keys()] }) => {
        for (const name of channels) feed.begin(this.asked.get(name), this);
      });
      hear("refused", ({ channel, reason }) => feed.call(feed.listeners.refused, channel, reason));
    }

    watch() {
      clearTimeout(this.watching);
      this.watching = setTimeout(() => this.feed.down(this, "the server is silent"), SILENCE_MS);
    }

    give({ channel: name, data, base64 }) {
      const message = base64 === undefined ? data : bytesOf(base64);
      const wild = this.wild.filter((one) => name.startsWith(one.name.slice(0, -1)));
      for (const channel of [this.asked.get(name) ?? [], wild].flat()) {
        if (channel.epoch !== this.epoch) Object.assign(channel, { epoch: this.epoch, offset: 0 });
        this.feed.take(this, channel, message, this.offset || undefined, this.isReplaying && this.offset > 0, name);
      }
    }

    /** A set of channels belongs to a stream for good: another set is another stream. */
    follow() {
      const { channels } = this.feed;
      const isNew = ([name, channel]) => this.asked.get(name) !== channel;
      if (channels.size !== this.asked.size || [...channels].some(isNew)) this.feed.connect(Stream);
    }

    async publish(name, data) {
      const url = new URL(`${this.feed.path}/${encodeURIComponent(name)}`, this.feed.url);
      const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
      const answer = await fetch(url, { method: "POST", body: JSON.stringify(data), headers });
      if (!answer.ok) throw new Error((await answer.text()).trim() || `the server answered ${answer.status}`);
    }

    settle() {
      if (this.epoch) this.feed.settle(this, this.epoch, this.offset);
    }

    leave() { this.close(); }

    close() {
      clearTimeout(this.watching);
      this.settle();
      this.source?.close();
    }
  }

  globalThis.Feed = Feed;
}
