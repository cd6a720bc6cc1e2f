import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from './sources.ts'

interface Manifest {
  readonly name: string
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
}

/** Each is somebody whom our users have to trust. */
const RUNTIME_PACKAGES_MAX = 20

const packages = readdirSync(join(root, 'packages'))
const read = (...path: string[]): string => readFileSync(join(root, ...path), 'utf8')
const manifestOf = (...path: string[]): Manifest => JSON.parse(read(...path, 'package.json')) as Manifest

/** Everything that installing a package brings with it. */
function installed(name: string, found = new Map<string, Manifest>()): Map<string, Manifest> {
  if (found.has(name)) return found
  const manifest = manifestOf('node_modules', name)
  found.set(name, manifest)
  for (const dependency of Object.keys(manifest.dependencies ?? {})) installed(dependency, found)
  return found
}

test('installing the broker brings few packages, and none that runs something meanwhile', () => {
  const all = installed('stathmos')
  expect(all.size).toBeLessThanOrEqual(RUNTIME_PACKAGES_MAX)
  const scripts = [...all.values()].flatMap((manifest) => Object.keys(manifest.scripts ?? {}))
  expect(scripts.filter((script) => /^(pre|post)?install$/.test(script))).toEqual([])
})

test.each(packages)('the licence goes with the package %s', (name) => {
  for (const file of ['LICENSE', 'NOTICE']) expect(read('packages', name, file)).toBe(read(file))
})
