import { readSettingsFile } from '../config/settings-file.ts'
import { CONFIG_VARIABLE, resolveSettings, type ResolvedSettings } from '../config/settings.ts'
import type { OptionName } from '../config/options.ts'

/** The values of the options as the command line gave them. */
export type Flags = Partial<Record<OptionName, string | boolean>> & { readonly config?: string }

/** The settings of a command: its flags, this process's environment, and the settings file. */
export async function settingsOf({ config, ...flags }: Flags): Promise<ResolvedSettings> {
  const file = await readSettingsFile(config ?? process.env[CONFIG_VARIABLE])
  return resolveSettings({ flags, environment: process.env, file })
}
