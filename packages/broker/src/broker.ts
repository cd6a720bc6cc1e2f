/**
 * The composition root: the only file that knows every room. It opens what a broker consists of in the order in which
 * one needs the other, and closes it in the opposite one.
 */
import { totalmem } from 'node:os'
import { resolve } from 'node:path'
import { lockDirectory, nodeFiles, openEngine, type RecoveryReport } from '@stathmos/engine'
import { systemClock, systemRandom } from '@stathmos/std'
import { openAuthenticator } from './auth/authenticator.ts'
import { ensureFirstUser, refuseExposure } from './auth/first-user.ts'
import { openKeyDeriver } from './auth/key-deriver.ts'
import { openPasswords } from './auth/passwords.ts'
import { PORT_MAX, type Port, type Settings } from './config/options.ts'
import { SettingsError } from './config/settings-error.ts'
import { endpointUrl, removeEndpoints, writeEndpoints, type Endpoints } from './data-directory/endpoints.ts'
import type { Health, Phase } from './http/health.ts'
import { openHttpServer, type HttpServer } from './http/server.ts'
import type { Log } from './log/log.ts'
import { openListener, type Listener } from './net/listener.ts'
import { portInUse } from './net/port-in-use.ts'
import {
  amqpOptions,
  amqpOriginHeaders,
  amqpOriginKeys,
  openAmqp,
  ORIGIN_AMQP,
  STANDARD_EXCHANGES,
} from './protocols/amqp/index.ts'
import { SESSION_LIMITS, type World } from './session/protocol.ts'
import { SessionRegistry } from './session/registry.ts'
import { version } from './version.ts'

/** A running broker. */
export interface Broker {
  readonly endpoints: Endpoints
  /** Absolute. */
  readonly dataDir: string
  /** What was found in the data directory. */
  readonly recovery: RecoveryReport
  /** The data directory had no users, and got its first. */
  readonly firstStart: boolean
  /**
   * Drains and stops: not ready, no new connections, a goodbye to every client, everything on disk, the directory free.
   * Later calls wait for the same end.
   */
  stop(): Promise<void>
}

export interface BrokerSurroundings {
  readonly log: Log
  /** The storage can no longer be trusted; the process has to end now and may start again. */
  readonly onFatal: (error: Error) => void
}

/**
 * Starts a broker. When it resolves, every listener accepts and `endpoints.json` is written. When it rejects, nothing
 * is left open.
 */
export async function startBroker(settings: Settings, { log, onFatal }: BrokerSurroundings): Promise<Broker> {
  const clock = systemClock
  const dataDir = resolve(settings.dataDir)
  const health: { phase: Phase; blocked: string | null } = { phase: 'starting', blocked: null }
  /** How to close what is open, last opened first. */
  const closers: (() => Promise<void> | void)[] = []
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).toReversed()) await close()
  }
  try {
    await nodeFiles.makeDirectory(dataDir)
    const lock = await lockDirectory(dataDir, clock)
    closers.push(() => lock.release())
    // A killed broker left its own behind; nobody may take that for ours.
    removeEndpoints(dataDir)
    closers.push(() => removeEndpoints(dataDir))

    const http = await openHttp(settings, health)
    if (http !== null) closers.push(() => http.close())

    health.phase = 'recovering'
    const engine = await openEngine({
      dataDir,
      files: nodeFiles,
      clock,
      random: systemRandom,
      limits: { diskFreeMin: settings.minFreeDisk, memoryMax: settings.maxMemory || memoryOfMachine() / 2 },
      residentBytes: residentMemory(),
      standardExchanges: STANDARD_EXCHANGES,
      originHeaders: new Map([[ORIGIN_AMQP, amqpOriginHeaders]]),
      originKeys: new Map([[ORIGIN_AMQP, amqpOriginKeys]]),
      onFatal,
      onDiskFault: ({ message, cause }) =>
        log.error('the disk has a fault; the broker goes on', {
          reason: cause instanceof Error ? `${message}: ${cause.message}` : message,
        }),
    })
    closers.push(() => engine.close())
    engine.flow.onChange((blocked) => {
      health.blocked = blocked
      if (blocked === null) log.info('publishers go on')
      else log.warn('publishers wait', { reason: blocked })
    })

    const deriver = openKeyDeriver(clock)
    closers.push(() => deriver.close())
    const passwords = openPasswords(deriver, systemRandom)
    const firstStart = await ensureFirstUser(engine, passwords, settings.defaultUser, settings.defaultPassword)
    refuseExposure(settings.host, engine.access.users(), settings.allowRemoteGuest)

    const world: World = {
      engine,
      clock,
      random: systemRandom,
      authenticator: openAuthenticator({
        users: engine.access,
        passwords,
        clock,
        random: systemRandom,
        log,
        remoteGuestAllowed: settings.allowRemoteGuest,
      }),
      registry: new SessionRegistry(),
      limits: { ...SESSION_LIMITS, authenticateMs: settings.loginTimeout, messageBytesMax: settings.maxMessageBytes },
    }
    const amqp = await openAmqpListener(settings, world, log)
    const listeners = amqp === null ? [] : [amqp]
    closers.push(async () => {
      for (const listener of listeners) listener.stopAccepting()
      await Promise.all(listeners.map((listener) => listener.drain('the broker is stopping', settings.drainTimeout)))
    })

    const endpoints: Endpoints = {
      ...(amqp !== null && { amqp: endpointUrl('amqp', amqp.address, amqp.port) }),
      ...(http !== null && { http: endpointUrl('http', http.address, http.port) }),
    }
    writeEndpoints(dataDir, process.pid, endpoints)
    health.phase = 'ready'
    log.debug('ready', { dataDir, ...endpoints })

    let stopped: Promise<void> | null = null
    return {
      endpoints,
      dataDir,
      recovery: engine.recovery,
      firstStart,
      stop() {
        health.phase = 'draining'
        return (stopped ??= closeAll())
      },
    }
  } catch (error) {
    await closeAll()
    throw error
  }
}

async function openHttp(settings: Settings, health: Health): Promise<HttpServer | null> {
  const port = portOf(settings.httpPort, settings)
  if (port === null) return null
  try {
    return await openHttpServer(settings.host, port, health)
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? portInUse('http', port) : error
  }
}

async function openAmqpListener(settings: Settings, world: World, log: Log): Promise<Listener | null> {
  const port = portOf(settings.amqpPort, settings)
  if (port === null) return null
  const protocol = openAmqp(world, amqpOptions({ version }))
  const { host, maxConnections: connectionsMax } = settings
  return openListener({ protocol, host, port, connectionsMax, clock: world.clock, log })
}

/** The port to bind: 0 for any, null for no listener. */
function portOf(wanted: Port, { ports, portOffset }: Settings): number | null {
  if (wanted === 'off') return null
  if (wanted === 'auto' || ports === 'auto') return 0
  const port = wanted + portOffset
  if (port > PORT_MAX)
    throw new SettingsError(`port ${wanted} and --port-offset ${portOffset} are more than ${PORT_MAX} together`)
  return port
}

/** Memory that this process may have at most: the machine's, or what its container allows. */
function memoryOfMachine(): number {
  const constrained = process.constrainedMemory()
  // Without a limit the kernel reports a number near 2^64.
  return constrained > 0 && constrained < totalmem() ? constrained : totalmem()
}

/** Reads the resident memory. The kernel's answer is a file: when no descriptor is left, the last answer still holds. */
function residentMemory(): () => number {
  let last = 0
  return () => {
    try {
      last = process.memoryUsage.rss()
    } catch {
      // Nothing to add: the next look comes soon.
    }
    return last
  }
}
