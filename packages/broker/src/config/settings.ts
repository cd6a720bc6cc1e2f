import { didYouMean } from './did-you-mean.ts'
import {
  isSecret,
  keyOf,
  optionNames,
  optionTable,
  rowOf,
  variableOf,
  type OptionName,
  type Settings,
} from './options.ts'
import { SettingsError } from './settings-error.ts'
import type { SettingsFile } from './settings-file.ts'
import { formatValue, parseValue } from './value.ts'

/** Where values come from, strongest first: flags, environment, file. What none of them says is the default. */
export interface SettingsSources {
  /** By option name, as the command line gave them. */
  readonly flags?: Readonly<Partial<Record<OptionName, string | boolean>>>
  readonly environment?: Readonly<Record<string, string | undefined>>
  readonly file?: SettingsFile | undefined
}

export interface ResolvedSettings {
  readonly settings: Settings
  /** For every option the place that decided it: `--host`, `STATHMOS_HOST`, `stathmos.yaml` or `default`. */
  readonly origins: Readonly<Record<OptionName, string>>
}

/** Variables that belong to the program and are no settings. */
export const CONFIG_VARIABLE = 'STATHMOS_CONFIG'
const PREFIX = 'STATHMOS_'
/** Read by the project’s own tests. */
const TEST_PREFIX = 'STATHMOS_TEST_'

/**
 * The settings of this start.
 *
 * @throws {SettingsError} for a value that an option cannot take, and for a key or a variable that no option has
 */
export function resolveSettings(sources: SettingsSources): ResolvedSettings {
  const { flags = {}, file } = sources
  const environment = ownVariables(sources.environment ?? {})
  refuseUnknown(environment, file)
  const settings: Record<string, unknown> = {}
  const origins: Record<string, string> = {}
  for (const name of optionNames) {
    const candidates: [given: unknown, place: string, origin: string][] = [
      [flags[name], `--${keyOf(name)}`, `--${keyOf(name)}`],
      [environment[variableOf(name)], variableOf(name), variableOf(name)],
      [file?.values.get(keyOf(name)), `${keyOf(name)} in ${file?.path}`, String(file?.path)],
    ]
    const decided = candidates.find(([given]) => given !== undefined)
    settings[name] = decided === undefined ? optionTable[name].default : parseValue(rowOf(name), decided[0], decided[1])
    origins[name] = decided === undefined ? 'default' : decided[2]
  }
  return { settings: settings as Settings, origins: origins as Record<OptionName, string> }
}

/** The settings with everything at its default, but for what `changes` says. */
export function defaultSettings(changes: Partial<Settings> = {}): Settings {
  return { ...resolveSettings({}).settings, ...changes }
}

/**
 * The variables that are meant for us. Kubernetes puts some of its own into every container of a namespace that has
 * a service named stathmos or stathmos-amqp: STATHMOS_SERVICE_HOST, STATHMOS_AMQP_PORT=tcp://10.0.0.1:5672 …
 */
function ownVariables(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const own: Record<string, string> = {}
  for (const [variable, value] of Object.entries(environment)) {
    if (value === undefined || !variable.startsWith(PREFIX) || variable.startsWith(TEST_PREFIX)) continue
    const fromKubernetes =
      /_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP)(_\w+)?$/.test(variable) || /^(tcp|udp):\/\//.test(value)
    if (!fromKubernetes) own[variable] = value
  }
  return own
}

function refuseUnknown(
  environment: Readonly<Record<string, string | undefined>>,
  file: SettingsFile | undefined,
): void {
  const variables = [...optionNames.map(variableOf), CONFIG_VARIABLE]
  for (const variable of Object.keys(environment)) {
    if (variables.includes(variable)) continue
    throw new SettingsError(`${variable} is no setting of Stathmos${suggestion(didYouMean(variable, variables))}`)
  }
  const keys = optionNames.map(keyOf)
  for (const key of file?.values.keys() ?? []) {
    if (keys.includes(key)) continue
    throw new SettingsError(`${key} in ${file!.path} is no setting of Stathmos${suggestion(didYouMean(key, keys))}`)
  }
}

function suggestion(word: string | undefined): string {
  return word === undefined ? '' : `; did you mean ${word}?`
}

/** The value as it may be shown to a person. */
export function shown(name: OptionName, settings: Settings): string {
  return isSecret(name) ? '***' : formatValue(rowOf(name), settings[name])
}
