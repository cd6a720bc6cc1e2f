// A project as a user has it: outside of the workspace, with our packages as npm packs and installs them.
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { succeed } from './program.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Packages of others are taken from the first of these that has them: nothing is downloaded. */
const SHELVES = [join(root, 'node_modules'), join(root, 'tests/peers/node_modules')]

/** Where an installed package of somebody else is; undefined where it is not. */
function onShelf(name: string): string | undefined {
  return SHELVES.map((shelf) => join(shelf, name)).find((folder) => existsSync(folder))
}

export interface PackedProject {
  readonly directory: string
  /** Copies files or folders into it. */
  add(from: string, to?: string): void
  /** Makes packages of others known to it, in the versions that the workspace has. */
  link(...names: readonly string[]): void
  remove(): void
}

/**
 * Packs the named folders of `packages`, and installs them without a network: what they need at run time has to be among
 * them, or among `dependencies`, which are packed from where the workspace has them.
 */
export async function packedProject(
  packages: readonly string[],
  dependencies: readonly string[],
): Promise<PackedProject> {
  const directory = mkdtempSync(join(tmpdir(), 'stathmos-project-'))
  const folders = [...packages.map((name) => join(root, 'packages', name)), ...dependencies.map((name) => found(name))]
  const tarballs = join(directory, 'tarballs')
  mkdirSync(tarballs)
  writeFileSync(
    join(directory, 'package.json'),
    JSON.stringify({ name: 'project', private: true, version: '1.0.0', type: 'module' }),
  )
  const packed = await succeed('npm', [
    'pack',
    '--silent',
    '--ignore-scripts',
    `--pack-destination=${tarballs}`,
    ...folders,
  ])
  const files = packed
    .trim()
    .split('\n')
    .map((file) => join(tarballs, basename(file)))
  await succeed('npm', [
    'install',
    `--prefix=${directory}`,
    '--offline',
    '--silent',
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
    ...files,
  ])
  rmSync(tarballs, { recursive: true })
  return {
    directory,
    add(from, to = basename(from)) {
      const target = join(directory, to)
      mkdirSync(dirname(target), { recursive: true })
      cpSync(from, target, { recursive: true })
    },
    link(...names) {
      for (const name of names) {
        const place = join(directory, 'node_modules', name)
        mkdirSync(dirname(place), { recursive: true })
        symlinkSync(found(name), place)
      }
    },
    remove: () => rmSync(directory, { recursive: true }),
  }
}

function found(name: string): string {
  const folder = onShelf(name)
  if (folder === undefined) throw new Error(`the workspace has no package ${name}; npm install brings it`)
  return folder
}
