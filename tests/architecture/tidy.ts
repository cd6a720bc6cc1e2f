import { isNode, lineOf, type Source, type SyntaxNode } from './sources.ts'

/** Words of protocols and of other brokers: the engine has none of them, in code or in comments. */
const PROTOCOL_WORDS = /amqp|mqtt|stomp|kafka|\bsqs\b|rabbit|puback|basic\.(ack|nack|publish|deliver|get|consume)/i

/** Names that say "something that did not fit": a file is named for the noun it defines. */
const DRAWERS = /^(utils?|helpers?|common|misc|shared|types|manager|lib)(\.|$)/i

const LINES_MAX = 450

/** Where the real clock and randomness may be touched: the files that wrap them. */
const CLOCK_HOMES = ['packages/std/src/clock.ts', 'packages/sdk/src/time/clock.ts', 'packages/std/src/random.ts']

const TIMERS = ['setTimeout', 'setInterval', 'setImmediate']

/** Global sources of time and chance, which would make a simulation irreproducible. */
const AMBIENT = ['Date.now', 'Math.random', 'performance.now', 'process.hrtime', 'crypto.randomUUID']

export function ambientCalls(source: Source): string[] {
  if (CLOCK_HOMES.includes(source.path)) return []
  const found: string[] = []
  const report = (node: SyntaxNode, what: string): void =>
    void found.push(`${source.path}:${lineOf(source, node.start)}: ${what}`)
  for (const node of source.nodes()) {
    if (node.type === 'CallExpression' && TIMERS.includes(nameOf(node['callee']))) report(node, nameOf(node['callee']))
    if (node.type === 'MemberExpression' && AMBIENT.includes(nameOf(node))) report(node, nameOf(node))
    if (
      node.type === 'NewExpression' &&
      nameOf(node['callee']) === 'Date' &&
      (node['arguments'] as unknown[]).length === 0
    )
      report(node, 'new Date()')
  }
  return found
}

export function protocolWords(source: Source): string[] {
  if (!source.path.startsWith('packages/engine/') && !source.path.startsWith('packages/std/')) return []
  return source.text.split('\n').flatMap((line, index) => {
    const word = PROTOCOL_WORDS.exec(line)?.[0]
    return word === undefined ? [] : [`${source.path}:${index + 1}: "${word}"`]
  })
}

export function tooLong(source: Source): string[] {
  const lines = source.text.trimEnd().split('\n').length
  return lines <= LINES_MAX || source.path.endsWith('.gen.ts')
    ? []
    : [`${source.path}: ${lines} lines, at most ${LINES_MAX}`]
}

export function drawers(source: Source): string[] {
  const folders = source.path.split('/').slice(2)
  return folders.some((part) => DRAWERS.test(part)) ? [`${source.path}: a drawer; name the noun instead`] : []
}

export function openEnds(source: Source): string[] {
  return source.comments
    .filter((comment) => /\b(TODO|FIXME|XXX|HACK)\b/.test(comment.value))
    .map((comment) => `${source.path}:${lineOf(source, comment.start)}: an open end`)
}

/** `a`, `a.b` or '' for anything else. */
function nameOf(node: unknown): string {
  if (!isNode(node)) return ''
  if (node.type === 'Identifier') return String(node['name'])
  if (node.type === 'MemberExpression' && node['computed'] === false)
    return `${nameOf(node['object'])}.${nameOf(node['property'])}`
  return ''
}
