/**
 * Serves the web clients for development: `npm run dev`. When a source file is saved, the browser shows the change
 * without a reload.
 *
 * SERVER_URL is the address of the Python server, by default http://127.0.0.1:8000. DEV_PORT is this server's own port,
 * by default 5173. The development server has no service worker, because a service worker would serve old files.
 * Without a service worker, notifications do not work.
 */
import { createServer as createHttpServer, type ClientRequest, type IncomingMessage } from 'node:http';
import { createServer as createViteServer, type ProxyOptions } from 'vite';
import { CLIENTS, WEB } from './clients.ts';
import { createManifest } from './shell.ts';

const HOST = '127.0.0.1';
const serverUrl = new URL(process.env.SERVER_URL ?? 'http://127.0.0.1:8000');
const port = Number(process.env.DEV_PORT ?? 5173);
const ownOrigins = [`http://${HOST}:${port}`, `http://localhost:${port}`];

/** Matches each path that does not belong to a client, such as /api/. */
const SERVER_PATHS = `^/(?!(${CLIENTS.map(({ path }) => path).join('|')})/)`;

/**
 * Forwards requests and sockets to the Python server. The Python server accepts a cookie only from a page of its own
 * origin. The development server therefore replaces the origin in requests of our pages. A request of another site
 * keeps its origin, so the Python server refuses the request.
 */
const proxy: ProxyOptions = {
  target: serverUrl.origin,
  ws: true,
  configure: (proxyServer) => {
    const rewriteOrigin = (outgoing: ClientRequest, incoming: IncomingMessage) => {
      if (ownOrigins.includes(incoming.headers.origin ?? '')) outgoing.setHeader('Origin', serverUrl.origin);
    };
    proxyServer.on('proxyReq', rewriteOrigin);
    proxyServer.on('proxyReqWs', rewriteOrigin);
  },
};

const http = createHttpServer();
const servers = await Promise.all(
  CLIENTS.map(async (client, index) => ({
    path: `/${client.path}/`,
    manifest: createManifest(client),
    vite: await createViteServer({
      configFile: `${WEB}build/config.ts`,
      mode: client.folder,
      cacheDir: `${WEB}node_modules/.vite/${client.folder}`,
      logLevel: 'warn',
      server: {
        middlewareMode: { server: http },
        ws: { server: http },
        // Only one Vite server has the proxy. If each Vite server had the proxy, all Vite servers would answer each
        // socket.
        ...(index === 0 ? { proxy: { [SERVER_PATHS]: proxy } } : {}),
      },
    }),
  })),
);

http.on('request', (request, response) => {
  const { url = '/' } = request;
  const server = servers.find(({ path }) => url.startsWith(path)) ?? servers[0]!;
  if (url === `${server.path}manifest.webmanifest`) response.end(server.manifest);
  else server.vite.middlewares(request, response);
});
http.on('error', (error) => {
  console.error(`error: the development server cannot listen on ${HOST}:${port}: ${error.message}`);
  process.exit(1);
});
http.listen(port, HOST, () => {
  const addresses = servers.map(({ path }) => `http://${HOST}:${port}${path}`);
  console.log(`web clients with reload: ${addresses.join('  ')}  (API: ${serverUrl.origin})`);
});
