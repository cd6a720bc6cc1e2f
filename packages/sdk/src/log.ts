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

function write(level: string, fields: object, message: string): void {
  const line = JSON.stringify({ level, msg: message, ...fields }, (_, value: unknown) =>
    value instanceof Error ? (value.stack ?? String(value)) : typeof value === 'bigint' ? String(value) : value,
  )
  process.stderr.write(`${line.slice(0, LINE_CHARS_MAX)}\n`)
}
