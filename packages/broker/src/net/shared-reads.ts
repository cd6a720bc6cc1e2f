/**
 * Reading all sockets into one buffer.
 *
 * Node allocates 64 KiB for every read of a server's socket and hands the piece that was filled to the garbage
 * collector: measured on Node 20, 21 µs of CPU for a full read and 80 MiB resident while one connection sends as fast as it
 * can, against 10 µs and 48 MiB with one buffer that is used again. A session is done with a chunk when its call
 * returns, so that one buffer serves every connection.
 *
 * Clients get this with `net.connect({ onread })`. For accepted sockets Node has the same machinery but no option: the
 * fields that `onread` would have set are set here. (Moving the handle to a second socket that was made with `onread`
 * does it, too, and costs every connection 15 µs.) Where a Node version keeps them elsewhere, the socket is read in the
 * ordinary way.
 */
import { Buffer } from 'node:buffer'
import type { Socket } from 'node:net'

/** As much as libuv reads at once. */
const READ_BYTES = 64 * 1024

const shared = Buffer.allocUnsafeSlow(READ_BYTES)

/** Where Node keeps what is behind a socket. */
const HANDLE = '_handle'

/** Null once the socket is closed. */
interface Handle {
  useUserBuffer?: (buffer: Uint8Array) => void
}

/** The symbols under which a socket keeps the buffer of `onread` and its callback, by their descriptions. */
const BUFFER = 'kBuffer'
const CALLBACK = 'kBufferCb'

interface Fields {
  readonly buffer: symbol
  readonly callback: symbol
}

/** Found at the first socket; null: this Node has none. */
let fields: Fields | null | undefined

/**
 * Starts reading a socket that a server with `pauseOnConnect` has accepted, and calls `receive` with every chunk. A chunk
 * is valid during the call only.
 */
export function readShared(accepted: Socket, receive: (chunk: Uint8Array) => void): void {
  const socket = accepted as unknown as Record<string | symbol, unknown>
  const handle = socket[HANDLE] as Handle | null | undefined
  if (fields === undefined) fields = fieldsOf(accepted)
  if (fields === null || typeof handle?.useUserBuffer !== 'function') {
    accepted.on('data', receive)
  } else {
    socket[fields.buffer] = shared
    socket[fields.callback] = (count: number): boolean => {
      receive(shared.subarray(0, count))
      return true
    }
    handle.useUserBuffer(shared)
  }
  // With the shared buffer nothing is pushed into the stream, but its end is.
  accepted.resume()
}

function fieldsOf(socket: Socket): Fields | null {
  const symbols = Object.getOwnPropertySymbols(socket)
  const buffer = symbols.find(({ description }) => description === BUFFER)
  const callback = symbols.find(({ description }) => description === CALLBACK)
  return buffer === undefined || callback === undefined ? null : { buffer, callback }
}
