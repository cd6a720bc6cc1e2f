import { relative } from 'node:path'
import { systemClock } from '@stathmos/std'
import { CorruptionError, DirectoryInUseError, StorageFullError } from '@stathmos/engine'
import { ExposureError } from '../auth/first-user.ts'
import { startBroker, type Broker } from '../broker.ts'
import type { Settings } from '../config/options.ts'
import { SettingsError } from '../config/settings-error.ts'
import { removeEndpoints } from '../data-directory/endpoints.ts'
import { openLog } from '../log/log.ts'
import { PortInUseError } from '../net/port-in-use.ts'
import { version } from '../version.ts'
import { EXIT } from './exit.ts'
import { settingsOf, type Flags } from './settings.ts'
import { isRefusalOfSystem, refusalOfDirectory, refusalToListen } from './system-refusal.ts'

/** Container platforms kill after 30 s; whatever still runs then is not worth waiting for. */
const STOP_MS_MAX = 24_000

/** Errors whose message tells the operator what to do. Any other is a bug and shows where it happened. */
const FOR_OPERATORS = [PortInUseError, DirectoryInUseError, ExposureError, CorruptionError, StorageFullError]

/** Runs the broker until a signal stops it. */
export async function serve(flags: Flags): Promise<void> {
  const { settings } = await settingsOf(flags)
  const beganAt = systemClock.monotonic()
  // Messages are nobody else's to read.
  process.umask(0o077)
  const log = openLog({
    level: settings.logLevel,
    clock: systemClock,
    pretty: process.stderr.isTTY,
    write: (line) => process.stderr.write(line),
  })
  const onFatal = (error: Error): void => {
    log.error('the storage can no longer be trusted; the broker ends now and may be started again', {
      reason: error.message,
    })
    process.exit(EXIT.failure)
  }

  let stopAsked = false
  let broker: Broker | null = null
  const stop = (): void => {
    // Asked twice, or before there was anything to drain. What is confirmed is on disk at every moment.
    if (stopAsked || broker === null) {
      if (broker !== null) removeEndpoints(broker.dataDir)
      process.exit(EXIT.ok)
    }
    stopAsked = true
    log.info('stopping; once more stops at once')
    systemClock.after(STOP_MS_MAX, () => {
      log.error('stopping took too long')
      process.exit(EXIT.failure)
    })
    broker.stop().then(
      () => process.exit(EXIT.ok),
      (error: unknown) => {
        log.error('stopping failed', { reason: String(error) })
        process.exit(EXIT.failure)
      },
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)

  try {
    broker = await startBroker(settings, { log, onFatal })
  } catch (error) {
    if (!(error instanceof Error) || error instanceof SettingsError) throw error
    process.stderr.write(`stathmos: ${explained(error, settings)}\n`)
    process.exit(EXIT.failure)
  }
  process.stdout.write(transcript(broker, settings, systemClock.monotonic() - beganAt))
}

function explained(error: Error, settings: Settings): string {
  if (FOR_OPERATORS.some((kind) => error instanceof kind)) return error.message
  if (!isRefusalOfSystem(error)) return error.stack ?? error.message
  return refusalToListen(error, settings.host) ?? refusalOfDirectory(error, settings.dataDir) ?? error.message
}

/** What a person sees when the broker is ready. */
function transcript(broker: Broker, settings: Settings, tookMs: number): string {
  const { amqp, http } = broker.endpoints
  const place = relative(process.cwd(), broker.dataDir)
  const lines = [
    `stathmos ${version} · node ${process.versions.node} · data ${place.startsWith('..') ? broker.dataDir : `./${place}`}`,
    recovered(broker),
    '',
    ...(amqp === undefined ? [] : [`AMQP     ${amqp}`]),
    ...(http === undefined ? [] : [`Health   ${http}/readyz`]),
    ...(amqp === undefined && http === undefined ? ['No listener: --amqp-port and --http-port are off'] : []),
    ...(broker.firstStart ? [`Login    ${login(settings)}`] : []),
    '',
    `Ready in ${(tookMs / 1000).toFixed(2)} s. A confirm is sent when the message is on disk. Ctrl-C drains and stops.`,
  ]
  return `${lines.map((line) => (line === '' ? '' : `  ${line}`)).join('\n')}\n`
}

function recovered({ recovery: { fresh, clean, messages, elapsedMs } }: Broker): string {
  if (fresh) return 'A new data directory'
  const how = clean
    ? ''
    : ', after a stop that was not clean: what was being delivered may come again, marked as a repeat'
  return `Recovered ${messages} ${messages === 1 ? 'message' : 'messages'} in ${Math.ceil(elapsedMs)} ms${how}`
}

function login({ defaultUser, defaultPassword, allowRemoteGuest }: Settings): string {
  if (defaultUser !== 'guest') return `${defaultUser}, with the password that was given`
  const password = defaultPassword === 'guest' ? 'guest' : 'the password that was given'
  return `guest / ${password}${allowRemoteGuest ? '' : ', from this machine only'}`
}
