import { existsSync, readFileSync } from 'node:fs'
import { SettingsError } from './settings-error.ts'

/** Read from the working directory when nobody names a file. */
const SETTINGS_FILE = 'stathmos.yaml'

export interface SettingsFile {
  readonly path: string
  /** By key as written; the values are whatever the YAML says. */
  readonly values: ReadonlyMap<string, unknown>
}

/**
 * Reads the settings file. One that was named must be there; the usual one may be missing.
 *
 * @throws {SettingsError} when it cannot be read or is not one flat mapping
 */
export async function readSettingsFile(named: string | undefined): Promise<SettingsFile | undefined> {
  const path = named ?? SETTINGS_FILE
  if (named === undefined && !existsSync(path)) return undefined
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new SettingsError(`${path} cannot be read: ${(error as Error).message}`)
  }
  // Only who has a settings file pays for the parser.
  const { parse } = await import('yaml')
  let parsed: unknown
  try {
    // A Map, because the keys are not ours: `__proto__` is a key like any other.
    parsed = parse(text, { mapAsMap: true })
  } catch (error) {
    throw new SettingsError(`${path} is not valid YAML: ${firstLine(error)}`)
  }
  if (parsed === null) return { path, values: new Map() }
  if (!(parsed instanceof Map)) throw new SettingsError(`${path} must hold lines of the form "amqp-port: 5673"`)
  return { path, values: new Map([...parsed].map(([key, value]: [unknown, unknown]) => [String(key), value])) }
}

/** What is wrong and where; the parser's message goes on with a drawing of the place. */
function firstLine(error: unknown): string {
  return (error as Error).message.split('\n', 1)[0]!.replace(/:$/, '')
}
