/**
 * Accepting without garbage that lasts.
 *
 * Node makes the socket of an accepted connection from a plain object of options, which it spreads and adds to. V8 (of
 * Node 20 at least) gives such a copy shapes that keep much of the connection alive until the next full collection: measured
 * with 1,000 connections a second, pauses of 10 ms and more where 0.2 ms do, and a third more CPU. A copy of options
 * without a prototype has no shapes. So the socket is made here, as Node would make it; where a Node version keeps its
 * handles elsewhere, it is Node that makes it.
 */
import { Socket, type Server, type SocketConstructorOpts } from 'node:net'

/** Where Node keeps what is behind a server. */
const HANDLE = '_handle'

interface ServerHandle {
  onconnection?: (error: number, accepted: object | undefined) => void
}

/**
 * From now on has a server that listens emit "connection" with sockets that are made here, paused as with
 * `pauseOnConnect`. They do not count for `maxConnections`, and `prepare` is called with each to set its options.
 */
export function acceptLean(server: Server, prepare: (socket: Socket) => void): void {
  const handle = (server as unknown as Record<string, ServerHandle | null | undefined>)[HANDLE]
  const accept = handle?.onconnection
  if (handle === null || handle === undefined || typeof accept !== 'function') return
  handle.onconnection = (error, accepted) => {
    if (error !== 0 || accepted === undefined) {
      accept.call(handle, error, accepted)
      return
    }
    const options: SocketConstructorOpts & { __proto__: null; handle: object; pauseOnCreate: boolean } = {
      __proto__: null,
      handle: accepted,
      pauseOnCreate: true,
    }
    const socket = new Socket(options)
    prepare(socket)
    server.emit('connection', socket)
  }
}
