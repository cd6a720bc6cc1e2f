import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './sources.ts'

export interface Page {
  /** From the root of the repository. */
  readonly path: string
  readonly text: string
}

/** Every page of the repository. */
export function pages(): Page[] {
  const inside = ['docs', 'bench', 'packages', 'tests', 'tools'].flatMap((directory) =>
    readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' }).map((path) => `${directory}/${path}`),
  )
  return [...readdirSync(root), ...inside]
    .filter((path) => path.endsWith('.md') && !/(^|\/)(node_modules|dist)\//.test(path))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

/** Links within the repository that lead nowhere. */
export function deadLinks({ path, text }: Page): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target!)
    .filter((target) => {
      if (/^[a-z]+:/.test(target)) return false
      const [file, heading] = target.split('#', 2) as [string, string?]
      const there = file === '' ? join(root, path) : join(root, dirname(path), file)
      return !existsSync(there) || (heading !== undefined && !headingsOf(there).includes(heading))
    })
    .map((target) => `${path}: ${target}`)
}

function headingsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

/** Folders of the root: a path that begins with one is a file of ours. */
const OURS = /^(packages|tests|tools|docs|bench|\.ci)\/[\w./-]+$/
/** In the short form of the pages: a package without its `packages/…/src`. */
const SHORT = /^(engine|broker|wire|std|testkit)\/[\w/-]+(\.ts)?$/

/** Files and folders that are named in code letters and are not there. */
export function missingFiles({ path, text }: Page): string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)]
    .flatMap(([, words]) => words!.split(/[\s,]+/))
    .filter((word) => {
      if (OURS.test(word)) return !existsSync(join(root, word))
      if (!SHORT.test(word)) return false
      const [name, ...rest] = word.split('/') as [string, ...string[]]
      return ![join(root, 'packages', name, 'src', ...rest), join(root, 'packages', name, ...rest)].some(existsSync)
    })
    .map((word) => `${path}: ${word}`)
}
