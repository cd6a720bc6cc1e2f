import type { IncomingMessage, ServerResponse } from 'node:http'
import { BodyTaken, Intake, type Call, type IntakeOptions, type IntakeService, type Reply } from './intake.ts'

/** Handlers for servers: one for Node's own, one for all that speak Fetch. Both need no `this`. */
export interface HttpHandlers {
  /** For `createServer`, Express and others. To be mounted before anything that reads bodies. Never throws. */
  readonly node: (request: IncomingMessage, response: ServerResponse) => void
  /** For Hono, Bun, Deno, Next and others. Never rejects. */
  readonly fetch: (request: Request) => Promise<Response>
}

/**
 * Lets other systems create messages: `POST /messages/<contract>` with the data as JSON and an `Idempotency-Key`, which is
 * the message's external id. Answered with 202 when the message is stored, with the same id however often it is repeated.
 * `GET /messages/<id>` says what became of it. Errors are problem documents (RFC 9457).
 *
 * @throws {SdkError} `invalid_declaration`
 */
export function http(service: IntakeService, options: IntakeOptions): HttpHandlers {
  const intake = new Intake(service, options)
  return {
    node: (request, response) => {
      void intake.answer(callOfNode(request)).then((reply) => respond(request, response, reply))
    },
    fetch: async (request) => {
      const { status, headers, body } = await intake.answer(callOfFetch(request))
      return new Response(body, { status, headers })
    },
  }
}

function callOfFetch(request: Request): Call {
  return {
    method: request.method,
    path: new URL(request.url).pathname,
    headers: request.headers,
    body: async (max) => {
      if (request.bodyUsed) throw new BodyTaken()
      return collected(request.body ?? [], request.headers, max)
    },
  }
}

function callOfNode(request: IncomingMessage): Call {
  const headers = new Headers()
  for (const [name, value] of Object.entries(request.headers))
    // HTTP/2 has headers that are none.
    if (!name.startsWith(':')) for (const each of [value ?? []].flat()) headers.append(name, each)
  return {
    method: request.method ?? 'GET',
    path: (request.url ?? '/').split('?', 1)[0]!,
    headers,
    body: async (max) => {
      if (request.readableEnded) throw new BodyTaken()
      // Destroying what is not read to its end would close the connection before the answer.
      return collected(request.iterator({ destroyOnReturn: false }), headers, max)
    },
  }
}

/** The chunks in one piece; null as soon as they are more than may be, without reading the rest. */
async function collected(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  headers: Headers,
  max: number,
): Promise<Uint8Array | null> {
  if (Number(headers.get('content-length') ?? 0) > max) return null
  const parts: Uint8Array[] = []
  let length = 0
  for await (const chunk of chunks) {
    length += chunk.byteLength
    if (length > max) return null
    parts.push(chunk)
  }
  return Buffer.concat(parts)
}

function respond(request: IncomingMessage, response: ServerResponse, { status, headers, body }: Reply): void {
  // A caller that has gone away is told nothing; what was stored for it stays.
  response.on('error', () => {})
  response.writeHead(status, { ...headers, 'content-length': String(Buffer.byteLength(body)) })
  response.end(body)
  if (!request.complete) request.resume()
}
