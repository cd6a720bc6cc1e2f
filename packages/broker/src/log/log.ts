import type { Clock } from '@stathmos/std'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** What a line says beside its message. Never a body of a message and never a secret. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>

/** Where the broker says what it does. One line for each call, on a terminal for people, elsewhere JSON. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

const SEVERITY: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }

export interface LogOptions {
  readonly level: LogLevel
  readonly clock: Clock
  /** Lines for people instead of JSON. */
  readonly pretty: boolean
  /** Takes a line with its end. */
  readonly write: (line: string) => void
}

export function openLog({ level, clock, pretty, write }: LogOptions): Log {
  const format = pretty ? prettyLine : jsonLine
  const at =
    (own: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (SEVERITY[own] >= SEVERITY[level]) write(format(new Date(clock.now()), own, message, fields))
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** For tests, and for who embeds the broker and wants no lines. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

function jsonLine(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  // JSON escapes control characters, so that a name of a client's making cannot forge a line.
  return `${JSON.stringify({ time: time.toISOString(), level, message, ...fields })}\n`
}

function prettyLine(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  const details = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${typeof value === 'string' ? quoted(value) : String(value)}`)
  return `  ${time.toTimeString().slice(0, 8)} ${level.padEnd(5)} ${quoted(message, true)}${details.join('')}\n`
}

/** The text as it is when it is plain; in JSON quotes when it holds what could be mistaken for another field or line. */
function quoted(text: string, spacesAllowed = false): string {
  if (/[\u0000-\u001f\u007f-\u009f"]/.test(text)) return JSON.stringify(text).replaceAll('\u009b', '\\u009b')
  return spacesAllowed || !text.includes(' ') ? text : `"${text}"`
}
