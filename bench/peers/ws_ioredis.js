// ws and ioredis: SUBSCRIBE for the first client of a channel, UNSUBSCRIBE after the last. With deflate as the last
// argument messages are compressed, as ws does it by default.
"use strict";
const http = require("node:http");
const { WebSocketServer } = require("ws");
const { Redis } = require("ioredis");

const [port, redisUrl, compression] = process.argv.slice(2);
const publisher = new Redis(redisUrl);
const subscriber = new Redis(redisUrl);
const channels = new Map();

subscriber.on("message", (channel, message) => {
  for (const client of channels.get(channel) ?? []) client.send(message);
});

const server = http.createServer();
const wss = new WebSocketServer({ server, perMessageDeflate: compression === "deflate" });
wss.on("connection", (client, request) => {
  const channel = "feed:" + request.url.split("/").pop();
  let clients = channels.get(channel);
  if (!clients) {
    channels.set(channel, (clients = new Set()));
    subscriber.subscribe(channel);
  }
  clients.add(client);
  client.on("message", (message) => publisher.publish(channel, message));
  client.on("error", () => {});
  client.on("close", () => {
    clients.delete(client);
    if (!clients.size && channels.get(channel) === clients) {
      channels.delete(channel);
      subscriber.unsubscribe(channel);
    }
  });
});
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 8192 });
