import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import type { Clock } from '@stathmos/std'
import type { Log } from '../log/log.ts'
import type { Protocol } from '../session/protocol.ts'
import { Connection } from './connection.ts'
import { acceptLean } from './lean-accepts.ts'
import { portInUse } from './port-in-use.ts'

/** A port that accepts connections of one protocol. */
export interface Listener {
  readonly address: string
  readonly port: number
  readonly connectionCount: number
  /** Accepts nothing any more. Connections that are there stay. */
  stopAccepting(): void
  /**
   * Has every session say goodbye in its protocol's way and resolves when all connections are closed. Those that are
   * still there after `deadlineMs` are cut.
   */
  drain(reason: string, deadlineMs: number): Promise<void>
}

export interface ListenerOptions {
  readonly protocol: Protocol
  readonly host: string
  /** 0 for any free port. */
  readonly port: number
  readonly connectionsMax: number
  readonly clock: Clock
  readonly log: Log
}

/** Connections that wait to be accepted while the event loop is busy: a whole fleet that reconnects at once. */
const BACKLOG = 4096

/** Of the process's file descriptors, connections may take all but this part and at least this many: the disk's. */
const DESCRIPTORS_KEPT = { share: 0.2, min: 100 }

/** What a process with hardly any descriptors serves all the same. */
const CONNECTIONS_MIN = 10

/** Silence after which the kernel asks whether the peer's machine is still there, for peers without heartbeats. */
const KEEP_ALIVE_MS = 60_000

/** At most one line about refused connections in this time. */
const COMPLAIN_MS = 10_000

/**
 * Listens and opens a session for every connection.
 *
 * @throws {PortInUseError} when another process has the port
 */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { protocol, clock, log } = options
  const connections = new Set<Connection>()
  let emptied: (() => void) | null = null
  let complainedAt = -Infinity

  const complain = (message: string, fields: Record<string, string | number>): void => {
    if (clock.monotonic() - complainedAt < COMPLAIN_MS) return
    complainedAt = clock.monotonic()
    log.warn(message, { listener: protocol.name, ...fields })
  }

  const connectionsMax = Math.min(options.connectionsMax, connectionsAffordable())
  const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, pauseOnConnect: true }
  const server = createServer(socketOptions, (socket) => {
    // Counted here, so that one who is refused is complained about.
    if (connections.size >= connectionsMax) {
      complain('connection refused: too many', { limit: connectionsMax, peer: socket.remoteAddress ?? '' })
      socket.destroy()
      return
    }
    const connection = new Connection(socket, protocol, clock, () => {
      connections.delete(connection)
      if (connections.size === 0) emptied?.()
    })
    connections.add(connection)
  })

  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'EADDRINUSE' ? portInUse(protocol.name, options.port) : error)
    })
    server.listen({ host: options.host, port: options.port, backlog: BACKLOG }, resolve)
  })
  acceptLean(server, (socket) => {
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
  })
  server.removeAllListeners('error')
  // Accepting can fail (EMFILE when others use up the descriptors); the next connection tries again.
  server.on('error', (error) => complain('connection not accepted', { reason: error.message }))

  const { address, port } = server.address() as AddressInfo
  return {
    address,
    port,
    get connectionCount() {
      return connections.size
    },
    stopAccepting: () => void server.close(),
    async drain(reason, deadlineMs) {
      if (connections.size === 0) return
      const gone = new Promise<void>((resolve) => {
        emptied = resolve
      })
      for (const connection of connections) connection.drain(reason)
      const deadline = clock.after(deadlineMs, () => {
        for (const connection of connections) connection.destroy()
      })
      await gone
      deadline.cancel()
    },
  }
}

function connectionsAffordable(): number {
  const descriptors = descriptorsMax()
  const kept = Math.max(Math.ceil(descriptors * DESCRIPTORS_KEPT.share), DESCRIPTORS_KEPT.min)
  return Math.max(descriptors - kept, CONNECTIONS_MIN)
}

/** More than any machine has; infinity has no share. */
const UNLIMITED = 2 ** 31

/** The soft limit of open files. Node has raised it to the hard limit before this runs. */
function descriptorsMax(): number {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    return limit === undefined ? UNLIMITED : Number(limit)
  } catch {
    // No such file but on Linux; there the option alone is the limit.
    return UNLIMITED
  }
}
