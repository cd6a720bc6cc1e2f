import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { healthVerdict, type Health } from './health.ts'

export interface HttpServer {
  readonly address: string
  readonly port: number
  /** Answers what is under way and closes. */
  close(): Promise<void>
}

/** A peer that does not finish its request in this time is cut. */
const REQUEST_MS = 10_000

/** Probes are small; nothing here reads a body. */
const HEADER_BYTES_MAX = 16 * 1024

const CONNECTIONS_MAX = 1024

/**
 * Serves the health endpoints.
 *
 * @throws an error with the code `EADDRINUSE` when another process has the port
 */
export async function openHttpServer(host: string, port: number, health: Health): Promise<HttpServer> {
  const server = createServer(
    { maxHeaderSize: HEADER_BYTES_MAX, requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS },
    (request, response) => answer(request, response, health),
  )
  server.maxConnections = CONNECTIONS_MAX
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, resolve)
  })
  server.removeAllListeners('error')
  // Accepting may fail while descriptors are scarce; a probe that got no answer comes again.
  server.on('error', () => {})
  const bound = server.address() as AddressInfo
  return {
    address: bound.address,
    port: bound.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeIdleConnections()
      }),
  }
}

function answer(request: IncomingMessage, response: ServerResponse, health: Health): void {
  const path = (request.url ?? '').split('?', 1)[0]!
  const verdict = healthVerdict(path, health)
  response.setHeader('Content-Type', 'text/plain; charset=utf-8')
  response.setHeader('Cache-Control', 'no-store')
  response.setHeader('X-Content-Type-Options', 'nosniff')
  // A body that nobody reads would keep the connection busy.
  request.resume()
  if (verdict === undefined) {
    response.writeHead(404).end('not found\n')
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { Allow: 'GET, HEAD' }).end()
  } else {
    response.writeHead(verdict.status).end(`${verdict.text}\n`)
  }
}
