// Does with the JavaScript SDK what each line of stdin says, and tells on stdout what happens.
const { createInterface } = require("node:readline");
const { Centrifuge, UnauthorizedError } = require("centrifuge");
const WebSocket = require("ws");

const clients = {};

const tell = (event) => console.log(JSON.stringify(event));

function renewing(tokens, told) {
  return async () => {
    tell({ ...told, what: "renews" });
    if (!tokens.length) throw new UnauthorizedError("no more tokens");
    return tokens.shift();
  };
}

function listen(source, told, names) {
  for (const name of names) {
    source.on(name, ({ error, ...context }) =>
      tell({ ...told, what: name, ...context, ...(error && { code: error.code }) }),
    );
  }
}

const does = {
  connect({ as, url, token = "", renew }) {
    const getToken = renew ? renewing(renew, { as }) : null;
    const client = new Centrifuge(url, { websocket: WebSocket, token, getToken, maxReconnectDelay: 1000 });
    clients[as] = client;
    listen(client, { as }, ["connecting", "connected", "disconnected", "error"]);
    listen(client, { as, server: true }, ["subscribed", "subscribing", "unsubscribed", "publication"]);
    client.connect();
  },
  reconnect: ({ as }) => clients[as].connect(),
  disconnect: ({ as }) => clients[as].disconnect(),
  subscribe({ as, channels, recoverable, joinLeave, data, token, renew }) {
    for (const channel of channels) {
      let subscription = clients[as].getSubscription(channel);
      if (!subscription) {
        const getToken = renew ? renewing(renew, { as, channel }) : null;
        const options = { recoverable, joinLeave, data, token, getToken, maxResubscribeDelay: 1000 };
        subscription = clients[as].newSubscription(channel, options);
        const names = ["subscribing", "subscribed", "unsubscribed", "publication", "join", "leave", "error"];
        listen(subscription, { as, channel }, names);
      }
      subscription.subscribe();
    }
  },
  unsubscribe({ as, channels }) {
    for (const channel of channels) clients[as].getSubscription(channel).unsubscribe();
  },
  publish: ({ as, channel, items }) => Promise.all(items.map((item) => clients[as].publish(channel, item))),
  presence: async ({ as, channel }) => (await clients[as].presence(channel)).clients,
  presenceStats: async ({ as, channel }) => (await clients[as].presenceStats(channel)).numClients,
  history({ as, channel, limit, reverse }) {
    return clients[as].history(channel, { limit, reverse });
  },
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const order = JSON.parse(line);
    try {
      const result = await does[order.do](order);
      if (order.number) tell({ what: "result", number: order.number, result });
    } catch (error) {
      tell({ what: "refused", number: order.number, code: error.code ?? 0, message: error.message ?? String(error) });
    }
  })
  .on("close", () => process.exit());
