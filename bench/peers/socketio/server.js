// Stores and delivers chat messages like our server, in the way that Socket.IO's guides recommend. A socket joins the
// rooms of its sessions. The server stores a message in PostgreSQL, emits it to the room through the Redis adapter, and
// acknowledges it. This file is one process. The benchmark starts two.
"use strict";

const { createHash } = require("node:crypto");
const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-adapter");
const { Pool } = require("pg");
const { createClient } = require("redis");
const { Server } = require("socket.io");

// Our server process has the same number of connections.
const pool = new Pool({
  host: process.env.PEER_SOCKETS_FOLDER,
  database: process.env.PEER_DATABASE,
  user: "curhat",
  max: 10,
});

const AUTHENTICATE = {
  name: "authenticate",
  text: `SELECT role, user_id FROM access_tokens
    WHERE digest = $1 AND revoked_at IS NULL AND expires_at > clock_timestamp()`,
};
const RUNNING_SESSIONS = {
  name: "running_sessions",
  text: `SELECT id FROM sessions
    WHERE CASE $1 WHEN 'customer' THEN customer_id ELSE mitra_id END = $2 AND status = 'active'`,
};
// This statement checks the membership and the end of the session. It stores a repeated message once.
const STORE = {
  name: "store",
  text: `INSERT INTO peer_messages (session_id, sender, client_message_id, text)
    SELECT id, $2, $4, $5 FROM sessions
    WHERE id = $1 AND status = 'active' AND ends_at > clock_timestamp()
      AND $3 = CASE $2 WHEN 'customer' THEN customer_id ELSE mitra_id END
    ON CONFLICT (session_id, sender, client_message_id) DO UPDATE SET text = peer_messages.text
    RETURNING id, sent_at`,
};

async function main() {
  const publisher = createClient({ socket: { path: `${process.env.PEER_SOCKETS_FOLDER}/valkey.sock` } });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);

  const http = createServer((request, response) => response.end("ready"));
  const io = new Server(http, {
    adapter: createAdapter(publisher, subscriber),
    transports: ["websocket"],
    serveClient: false,
  });

  io.use(async (socket, next) => {
    try {
      const digest = createHash("sha256").update(String(socket.handshake.auth.token)).digest();
      const found = await pool.query({ ...AUTHENTICATE, values: [digest] });
      if (found.rowCount === 0) return next(new Error("unauthenticated"));
      const { role, user_id } = found.rows[0];
      const running = await pool.query({ ...RUNNING_SESSIONS, values: [role, user_id] });
      socket.data = { role, user_id, sessions: running.rows.map((row) => row.id) };
      return next();
    } catch (error) {
      return next(error);
    }
  });

  io.on("connection", (socket) => {
    const { role, user_id: userId, sessions } = socket.data;
    socket.join(sessions.map((id) => `session:${id}`));
    socket.on("message", async (sent, acknowledge) => {
      try {
        const values = [sent.session_id, role, userId, sent.client_message_id, sent.text];
        const stored = await pool.query({ ...STORE, values });
        if (stored.rowCount === 0) return acknowledge({ code: "session_ended" });
        const row = stored.rows[0];
        const message = {
          id: row.id,
          session_id: sent.session_id,
          client_message_id: sent.client_message_id,
          sender: role,
          text: sent.text,
          sent_at: row.sent_at,
        };
        io.to(`session:${sent.session_id}`).emit("message", message);
        return acknowledge(message);
      } catch (error) {
        return acknowledge({ code: "failed", detail: error.message });
      }
    });
  });

  http.listen(Number(process.env.CURHAT_PORT), "127.0.0.1");
  process.on("SIGINT", () => process.exit(0));
}

main();
