import { posix } from 'node:path'
import { importsOf, type Source } from './sources.ts'
import type { Rooms } from './layers.ts'

/** The published names of the packages, by the folder they live in. */
const packageNames: Readonly<Record<string, string>> = {
  '@stathmos/std': 'std',
  '@stathmos/wire': 'wire',
  '@stathmos/engine': 'engine',
  '@stathmos/testkit': 'testkit',
  stathmos: 'broker',
}

/** Imports that no arrow of the table allows, one line each, ready to be read by whoever caused it. */
export function violations(sources: readonly Source[], rooms: Rooms): string[] {
  const found: string[] = []
  for (const source of sources) {
    const room = roomOf(source.path, rooms)
    if (room === undefined) {
      found.push(`${source.path}: belongs to no room of the table`)
      continue
    }
    for (const { specifier, line } of importsOf(source)) {
      const target = targetOf(source.path, specifier, rooms)
      if (target === undefined || target === room) continue
      if (!allows(rooms[room]!, target))
        found.push(`${source.path}:${line}: ${room} may not import ${target} (${specifier})`)
    }
  }
  return found
}

/** The room of a file: the longest name in the table that its path starts with. */
export function roomOf(path: string, rooms: Rooms): string | undefined {
  const match = /^packages\/([^/]+)\/src\/(.+)\.ts$/.exec(path)
  if (match === null) return undefined
  // A file may be a room of its own (engine/errors), so the name of the file counts as the last part.
  const parts = [match[1]!, ...match[2]!.split('/')]
  for (let length = parts.length; length > 0; length--) {
    const name = parts.slice(0, length).join('/')
    if (name in rooms && (length > 1 || parts.length === 2)) return name
  }
  return undefined
}

function targetOf(path: string, specifier: string, rooms: Rooms): string | undefined {
  if (specifier.startsWith('.')) return roomOf(posix.join(posix.dirname(path), specifier), rooms)
  const name = Object.keys(packageNames).find((each) => specifier === each || specifier.startsWith(`${each}/`))
  return name === undefined ? undefined : packageNames[name]
}

function allows(allowed: readonly string[], target: string): boolean {
  return allowed.some((each) => (each.endsWith('/*') ? target.startsWith(each.slice(0, -1)) : each === target))
}
