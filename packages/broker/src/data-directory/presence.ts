import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** What a broker makes; one of these is left, however damaged the rest is. */
const SIGNS = ['journal', 'index', 'CHECKPOINT', 'repaired']

/** Whether a broker has kept its data there. */
export function holdsData(directory: string): boolean {
  return SIGNS.some((name) => existsSync(join(directory, name)))
}
