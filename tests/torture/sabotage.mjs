// Ways to break the broker from outside, to see that the torture notices: libraries that are loaded before its own.
// (Directories that are not synced cannot be shown this way: on ext4 the sync of a new file saves its name as well.)
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

export const SABOTAGES = ['nosync']

/** The environment that makes a broker break its promises; needs a C compiler. */
export function sabotage(name) {
  if (name === undefined) return {}
  if (!SABOTAGES.includes(name)) throw new Error(`no sabotage ${name}: ${SABOTAGES.join(', ')}`)
  const source = fileURLToPath(new URL(`sabotage/${name}.c`, import.meta.url))
  const library = fileURLToPath(new URL(`../../.cache/${name}.so`, import.meta.url))
  mkdirSync(dirname(library), { recursive: true })
  execFileSync('gcc', ['-O1', '-shared', '-fPIC', '-o', library, source])
  return { LD_PRELOAD: library }
}
