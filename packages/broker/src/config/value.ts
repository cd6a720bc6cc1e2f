import { PORT_MAX, type OptionRow, type Port } from './options.ts'
import { SettingsError } from './settings-error.ts'

const BYTES_UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, kib: 1024, mib: 1024 ** 2, gib: 1024 ** 3 }
const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/**
 * The value that `given` means for an option: text from the command line or the environment, a scalar from the file.
 *
 * @param place where it was given, for the message: `--amqp-port`, `STATHMOS_HOST`, `host in stathmos.yaml`
 * @throws {SettingsError} for a value that the option cannot take
 */
export function parseValue(row: OptionRow, given: unknown, place: string): string | number | boolean {
  const text = typeof given === 'string' ? given.trim() : String(given)
  const refuse = (wanted: string): never => {
    throw new SettingsError(`${place} is ${JSON.stringify(given)}; it must be ${wanted}`)
  }
  if (!['string', 'number', 'boolean'].includes(typeof given)) return refuse('a single value')
  switch (row.kind) {
    case 'text':
      return text === '' ? refuse('a text that is not empty') : text
    case 'choice':
      return row.choices.includes(text) ? text : refuse(`one of ${row.choices.join(', ')}`)
    case 'switch':
      if (text === 'true' || text === '1') return true
      return text === 'false' || text === '0' ? false : refuse('true or false')
    case 'integer':
      return integer(text, row.min, row.max) ?? refuse(`a whole number from ${row.min} to ${row.max}`)
    case 'port':
      return port(text) ?? refuse(`a port from 1 to ${PORT_MAX}, auto or off`)
    case 'bytes': {
      const bytes = measure(text, BYTES_UNITS)
      return bytes !== undefined && bytes >= row.min
        ? bytes
        : refuse(`a size of at least ${row.min} bytes, such as 16MiB`)
    }
    case 'duration': {
      const ms = measure(text, DURATION_UNITS)
      const bounds = `from ${formatValue(row, row.min)} to ${formatValue(row, row.max)}`
      return ms !== undefined && ms >= row.min && ms <= row.max ? ms : refuse(`a time ${bounds}, such as 500ms or 10s`)
    }
  }
}

/** A value the way an operator would write it. */
export function formatValue(row: OptionRow, value: string | number | boolean): string {
  if (typeof value !== 'number') return String(value)
  if (row.kind === 'bytes') return withUnit(value, { GiB: 1024 ** 3, MiB: 1024 ** 2, KiB: 1024 })
  if (row.kind === 'duration') return value === 0 ? '0s' : withUnit(value, { m: 60_000, s: 1000, ms: 1 })
  return String(value)
}

function withUnit(value: number, units: Readonly<Record<string, number>>): string {
  const unit = Object.keys(units).find((each) => value % units[each]! === 0)
  return unit === undefined || value === 0 ? String(value) : `${value / units[unit]!}${unit}`
}

function integer(text: string, min: number, max: number): number | undefined {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  return value >= min && value <= max ? value : undefined
}

function port(text: string): Port | undefined {
  return text === 'auto' || text === 'off' ? text : integer(text, 1, PORT_MAX)
}

function measure(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d+)\s*([a-z]*)$/i.exec(text)
  const unit = match === null ? undefined : units[match[2]!.toLowerCase()]
  return unit === undefined ? undefined : Number(match![1]) * unit
}
