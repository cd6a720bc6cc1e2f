import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseSync } from 'oxc-parser'

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..')

/** A node of the syntax tree, as the parser gives it. */
export interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly [field: string]: unknown
}

export interface Source {
  /** From the root of the tree that was read, with forward slashes. */
  readonly path: string
  readonly text: string
  readonly comments: readonly { readonly value: string; readonly start: number }[]
  /** Every node, parents before children. */
  nodes(): Iterable<SyntaxNode>
}

/** Every TypeScript file under `directory`, parsed; `path` is relative to `from`. */
export function sourcesUnder(directory: string, from: string): Source[] {
  return readdirSync(directory, { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(directory, entry.name)
      if (entry.isDirectory()) return sourcesUnder(path, from)
      return entry.name.endsWith('.ts') ? [parse(path, relative(from, path).replaceAll('\\', '/'))] : []
    })
}

/** The files that ship: everything in a package's `src` but its tests. */
export function shippedSources(): Source[] {
  const packages = join(root, 'packages')
  return readdirSync(packages)
    .flatMap((name) => sourcesUnder(join(packages, name, 'src'), root))
    .filter((source) => !source.path.endsWith('.test.ts'))
}

export function lineOf(source: Source, offset: number): number {
  return source.text.slice(0, offset).split('\n').length
}

/** What a file imports, in every way the language has, types included. */
export function importsOf(source: Source): { specifier: string; line: number }[] {
  const found: { specifier: string; line: number }[] = []
  for (const node of source.nodes()) {
    const target = node['source'] ?? (node.type === 'TSExternalModuleReference' ? node['expression'] : undefined)
    const value = isNode(target) ? target['value'] : undefined
    if (typeof value === 'string') found.push({ specifier: value, line: lineOf(source, node.start) })
  }
  return found
}

export function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string'
}

function parse(file: string, path: string): Source {
  const text = readFileSync(file, 'utf8')
  const { program, comments, errors } = parseSync(file, text)
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]!.message}`)
  return { path, text, comments, nodes: () => walk(program as unknown as SyntaxNode) }
}

function* walk(node: SyntaxNode): Iterable<SyntaxNode> {
  yield node
  for (const child of Object.values(node)) {
    if (Array.isArray(child)) {
      for (const item of child) if (isNode(item)) yield* walk(item)
    } else if (isNode(child)) yield* walk(child)
  }
}
