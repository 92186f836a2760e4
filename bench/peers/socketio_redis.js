// Socket.IO with its Redis adapter, after the adapter's README.
"use strict";
const http = require("node:http");
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");
const { Redis } = require("ioredis");

const [port, redisUrl] = process.argv.slice(2);
const pubClient = new Redis(redisUrl);
const subClient = pubClient.duplicate();
const server = http.createServer();
const io = new Server(server, {
  adapter: createAdapter(pubClient, subClient),
  transports: ["websocket"],
  perMessageDeflate: false,
  pingInterval: 3600000,
});
io.on("connection", (socket) => {
  socket.on("join", async (channel) => {
    socket.data.channel = channel;
    await socket.join(channel);
    socket.emit("joined", channel);
  });
  socket.on("publish", (message) => io.to(socket.data.channel).emit("message", message));
});
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 8192 });
