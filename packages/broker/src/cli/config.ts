import { keyOf, optionNames } from '../config/options.ts'
import { shown } from '../config/settings.ts'
import { settingsOf, type Flags } from './settings.ts'

/** Prints every setting, its value, and the place that decided it. */
export async function showConfig(flags: Flags): Promise<void> {
  const { settings, origins } = await settingsOf(flags)
  const rows = optionNames.map((name) => [keyOf(name), shown(name, settings), origins[name]] as const)
  const keyWidth = Math.max(...rows.map(([key]) => key.length))
  const valueWidth = Math.max(...rows.map(([, value]) => value.length))
  for (const [key, value, origin] of rows) {
    process.stdout.write(`${key.padEnd(keyWidth)}  ${value.padEnd(valueWidth)}  ${origin}\n`)
  }
}
