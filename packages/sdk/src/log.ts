/** Where an application's messages for its operator go. Pino, console and most others fit as they are. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Says nothing. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

/** Longest line: an error with its stack. */
const LINE_CHARS_MAX = 8_000

/**
 * Writes what an operator has to know, warnings and errors, as lines of JSON to the standard error; the rest is left out. What a
 * service has that was given no log of its own.
 */
export const standardErrorLog: Log = {
  debug() {},
  info() {},
  warn: (fields, message) => write('warn', fields, message),
  error: (fields, message) => write('error', fields, message),
}

/**
 * The same log, which throws nothing: handlers throw whatever they like, not every log can write it, and over a line that
 * is not written no message may be forgotten.
 */
export function unfailing(log: Log): Log {
  const say =
    (level: keyof Log) =>
    (fields: object, message: string): void => {
      try {
        log[level](fields, message)
      } catch (error) {
        write('error', { err: error, unwritten: message }, 'the log failed')
      }
    }
  return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') }
}

function write(level: string, fields: object, message: string): void {
  process.stderr.write(`${lineOf(level, fields, message).slice(0, LINE_CHARS_MAX)}\n`)
}

function lineOf(level: string, fields: object, message: string): string {
  try {
    return JSON.stringify({ level, msg: message, ...fields }, (_, value: unknown) =>
      value instanceof Error ? (value.stack ?? String(value)) : typeof value === 'bigint' ? String(value) : value,
    )
  } catch {
    // A circle, or something that does not want to be looked at.
    return JSON.stringify({ level, msg: message, fields: Object.keys(fields) })
  }
}
