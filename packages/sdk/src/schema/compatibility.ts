import { isDeepStrictEqual } from 'node:util'
import type { ProtobufField, ShapeLayer } from '../contract/body-format.ts'
import type { BodyEntry, ContractEntry, Manifest, VersionEntry } from './manifest.ts'
import { gapsBetween } from './schema-gap.ts'

/**
 * `backward`: this program reads what earlier ones sent, and what of it still lies in stores and queues. `forward`: earlier
 * programs read what this one sends. `full`: both, which is what a rolling deployment needs.
 */
export type CompatibilityMode = 'backward' | 'forward' | 'full'

/** Why two programs would not understand each other. */
export interface Finding {
  readonly direction: 'backward' | 'forward'
  readonly contract: string
  /** Null when it is about the contract as a whole, or about an answer. */
  readonly version: number | null
  /** `items[].name`; empty for the whole. */
  readonly field: string
  /** False when it could not be found out: to be looked at, not to be failed for. */
  readonly certain: boolean
  /** A sentence that names the field and the remedy. */
  readonly message: string
}

/**
 * Compares the contracts of this program with those of earlier ones. Checked against every manifest that is given: with
 * all that were ever deployed, or whose messages are still stored, it is what others call transitive. Of the manifest of
 * another service it looks at the contracts that both know, and at who owns them.
 *
 * @returns nothing when they get along
 */
export function checkCompatibility(
  earlier: readonly Manifest[],
  current: Manifest,
  mode: CompatibilityMode,
): readonly Finding[] {
  const found = earlier.flatMap((manifest) => [
    ...(isAnother(manifest, current) ? ownedTwice(manifest, current) : []),
    ...manifest.contracts.flatMap((old) => {
      const now = current.contracts.find(({ name, kind }) => name === old.name && kind === old.kind)
      if (now === undefined) return gone(old, current, isAnother(manifest, current))
      return [
        ...(mode === 'forward' ? [] : [...backward(old, now), ...answers(old, now, 'backward')]),
        ...(mode === 'backward' ? [] : [...forward(old, now), ...answers(old, now, 'forward')]),
      ]
    }),
  ])
  return [...new Map(found.map((each) => [`${each.direction} ${each.message}`, each])).values()]
}

/** Whether it is the manifest of another service, which may know contracts that this one has nothing to do with. */
function isAnother({ service }: Manifest, current: Manifest): boolean {
  return service !== undefined && current.service !== undefined && service !== current.service
}

function ownedTwice({ service, owns = [] }: Manifest, current: Manifest): Finding[] {
  const owned = owns.filter((name) => current.owns?.includes(name))
  return owned.map((name) =>
    finding(
      'backward',
      name,
      null,
      `"${name}" is owned by ${service} and by ${current.service}, and both would do it each time; leave it to one of them, or make it an event`,
    ),
  )
}

function gone(old: ContractEntry, current: Manifest, another: boolean): Finding[] {
  const kind = current.contracts.find(({ name }) => name === old.name)?.kind
  if (kind !== undefined) {
    const message = `"${old.name}" was ${withArticle(old.kind)} and is ${withArticle(kind)}; give the ${kind} another name`
    return [finding('backward', old.name, null, message)]
  }
  if (another) return []
  const message = `the ${old.kind} "${old.name}" is gone; keep it until no message of it is stored or under way`
  return [finding('backward', old.name, null, message)]
}

function withArticle(kind: ContractEntry['kind']): string {
  return kind === 'event' ? 'an event' : `a ${kind}`
}

function backward(old: ContractEntry, now: ContractEntry): Finding[] {
  const found: Finding[] = []
  const { name } = old
  if (old.keyed && !now.keyed)
    found.push(
      finding(
        'backward',
        name,
        null,
        `"${name}" has no key any more, so its messages lose their order; put .key() back`,
      ),
    )
  for (const before of old.versions) {
    const after = now.versions.find(({ version }) => version === before.version)
    const what = `"${name}" version ${before.version}`
    if (after === undefined) {
      const message = `${what} is gone; keep it as it was, and put what is new after it with .next()`
      found.push(finding('backward', name, before.version, message))
      continue
    }
    const advice = `or leave version ${before.version} as it was and add version ${now.versions.length + 1} with .next()`
    found.push(...bodies({ direction: 'backward', name, version: before.version, what, advice }, before, after))
  }
  return found
}

function forward(old: ContractEntry, now: ContractEntry): Finding[] {
  const { name } = old
  const sent = now.versions.find(({ version }) => version === now.sends)
  const newest = old.versions.at(-1)
  if (sent === undefined || newest === undefined) return []
  const what = `"${name}" version ${sent.version}`
  if (sent.version > newest.version && !old.forward) {
    const message = `${what} is not known to earlier programs, which know up to ${newest.version}; deploy what receives it first and send it with .sendAs(${newest.version}) until then`
    return [finding('forward', name, sent.version, message)]
  }
  const reader: VersionEntry = old.versions.find(({ version }) => version === sent.version) ?? newest
  const advice = `or send it with .sendAs() as it was until every receiver is deployed`
  return bodies({ direction: 'forward', name, version: sent.version, what, advice }, sent, reader)
}

/** Answers go the other way: what this program asks, earlier ones answer. */
function answers(old: ContractEntry, now: ContractEntry, direction: Finding['direction']): Finding[] {
  if (old.answer === undefined || now.answer === undefined) return []
  const { name } = old
  const [sender, receiver] = direction === 'backward' ? [old, now] : [now, old]
  const place = (what: string): Place => ({ direction, name, version: null, what, advice: 'or declare a new request' })
  const found = bodies(place(`the answer of "${name}"`), sender.answer!, receiver.answer!)
  for (const [error, entry] of Object.entries(sender.errors ?? {})) {
    const known = receiver.errors?.[error]
    if (known !== undefined) found.push(...bodies(place(`the error "${error}" of "${name}"`), entry, known))
    else {
      const who = direction === 'backward' ? 'this program, though earlier ones answer it' : 'earlier programs'
      const message = `the error "${error}" of "${name}" is not known to ${who}; askers get "failed" instead, so let every asker know it first`
      found.push(finding(direction, name, null, message))
    }
  }
  return found
}

/** Where bodies are compared. */
interface Place {
  readonly direction: Finding['direction']
  readonly name: string
  readonly version: number | null
  /** `"ticket.submitted" version 2`. */
  readonly what: string
  readonly advice: string
}

function bodies(place: Place, sent: BodyEntry, taken: BodyEntry): Finding[] {
  const { direction, name, version, what, advice } = place
  const shape = shapeGap(sent, taken)
  if (shape !== null) return [finding(direction, name, version, `${what}: ${shape}; ${advice}`)]
  if (sent.schema === null || taken.schema === null) {
    const reason = sent.unknown ?? taken.unknown ?? 'there is no JSON Schema of it'
    const message = `${what} could not be compared (${reason}); test it with bodies that are stored`
    return [{ ...finding(direction, name, version, message), certain: false }]
  }
  return gapsBetween(sent.schema, taken.schema).map(({ field, wrong, remedy, certain }) => {
    const where = field === '' ? 'the data' : `field "${field}"`
    return {
      direction,
      contract: name,
      version,
      field,
      certain,
      message: `${what}: ${where} ${wrong}; ${remedy}, ${advice}`,
    }
  })
}

/** Why the bytes of one are not those of the other; null when they are. */
function shapeGap({ shape: sent }: BodyEntry, { shape: taken }: BodyEntry): string | null {
  if (sent.format !== taken.format) return `bodies are sent as ${sent.format} and read as ${taken.format}`
  const layers = layerGap(sent.layers ?? [], taken.layers ?? [])
  if (layers !== null) return layers
  if ('schema' in sent && 'schema' in taken && !isDeepStrictEqual(layout(sent.schema), layout(taken.schema)))
    return 'the Avro schema is another one, and Avro bodies can be read only by the schema that wrote them'
  if ('fields' in sent && 'fields' in taken) return fieldGap(sent.fields, taken.fields)
  return null
}

/** A layer that is sent has to be taken off; one that is expected has to be there, unless it may be missing. */
function layerGap(sent: readonly ShapeLayer[], taken: readonly ShapeLayer[]): string | null {
  const [names, known] = [sent, taken].map((layers) => layers.map(({ name }) => name)) as [string[], string[]]
  const expected = taken.filter(({ name, optional }) => !optional || names.includes(name)).map(({ name }) => name)
  if (isDeepStrictEqual(names, expected)) return null
  const inWords = (layers: readonly string[]): string =>
    layers.length === 0 ? 'as they are' : `with ${layers.join(' and ')} around them`
  return `bodies are sent ${inWords(names)} and read ${inWords(known)}`
}

function fieldGap(sent: readonly ProtobufField[], taken: readonly ProtobufField[]): string | null {
  for (const { number, name, type } of sent) {
    const other = taken.find((field) => field.number === number)
    if (other !== undefined && other.type !== type)
      return `Protobuf field ${number} "${name}" is sent as ${type} and read as ${other.type}; take a new number for it`
  }
  return null
}

/** Attributes of an Avro schema that say nothing of its bytes. */
const SILENT: ReadonlySet<string> = new Set(['doc', 'aliases', 'default', 'order'])

function layout(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(layout)
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema).filter(([name]) => !SILENT.has(name))
  return Object.fromEntries(entries.map(([name, value]) => [name, layout(value)]))
}

function finding(direction: Finding['direction'], contract: string, version: number | null, message: string): Finding {
  return { direction, contract, version, field: '', certain: true, message }
}
