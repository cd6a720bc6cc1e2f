import { isDeepStrictEqual } from 'node:util'
import {
  includes,
  isSchema,
  namesIn,
  numberIn,
  referred,
  schemasIn,
  schemasUnder,
  typesOf,
  valuesOf,
  type AnySchema,
  type JsonSchema,
} from './json-schema.ts'

/** Something that a sender may write and a receiver does not take. */
export interface Gap {
  /** `items[].name`; empty for the whole. */
  readonly field: string
  /** What is wrong, in words of senders and receivers. */
  readonly wrong: string
  readonly remedy: string
  /** False when the schemas have something in them that cannot be compared. */
  readonly certain: boolean
}

interface Pair {
  readonly sent: AnySchema
  readonly taken: AnySchema
  /** What references led to and is being compared: a schema may contain itself. */
  readonly open: readonly (readonly [AnySchema, AnySchema])[]
}

/** References within references that are followed; what goes on forever without coming back is not compared. */
const REFERENCES_MAX = 50

/** Keywords that are compared only for being the same. */
const OPAQUE = ['not', 'if', 'then', 'else', 'patternProperties', 'dependentRequired', 'dependentSchemas', 'contains']

/**
 * What data that fits `sent` may have that `taken` refuses. Fields that `sent` does not name are taken not to be there.
 * Conservative: what is not understood is a gap that is not certain.
 */
export function gapsBetween(sent: AnySchema, taken: AnySchema): readonly Gap[] {
  return gapsAt('', sent, taken, { sent, taken, open: [] })
}

function gapsAt(field: string, sent: AnySchema, taken: AnySchema, pair: Pair): readonly Gap[] {
  if (taken === true || sent === false) return []
  if (taken === false) return [gap(field, 'is refused by receivers', 'let receivers take it')]
  if (sent === true) return gapsAt(field, {}, taken, pair)
  if ('$ref' in sent || '$ref' in taken) {
    const [sentTarget, takenTarget] = [resolved(pair.sent, sent), resolved(pair.taken, taken)]
    if (pair.open.some((open) => open[0] === sentTarget && open[1] === takenTarget)) return []
    if (sentTarget === undefined || takenTarget === undefined || pair.open.length === REFERENCES_MAX)
      return [unclear(field, '$ref')]
    return gapsAt(field, sentTarget, takenTarget, { ...pair, open: [...pair.open, [sentTarget, takenTarget]] })
  }
  const alternatives = schemasIn(sent, 'anyOf') ?? schemasIn(sent, 'oneOf')
  if (alternatives !== null) return unique(alternatives.flatMap((each) => gapsAt(field, each, taken, pair)))
  const parts = schemasIn(sent, 'allOf')
  if (parts !== null) {
    if (pair.open.length === REFERENCES_MAX) return [unclear(field, 'allOf')]
    return gapsAt(field, merged(sent, parts, pair.sent), taken, { ...pair, open: [...pair.open, [sent, taken]] })
  }
  if (Array.isArray(sent['type'])) {
    const { type, ...rest } = sent
    return unique((type as string[]).flatMap((each) => gapsAt(field, { ...rest, type: each }, taken, pair)))
  }
  const { allOf, anyOf, oneOf, ...own } = taken
  const gaps = [...(schemasIn({ allOf }, 'allOf') ?? []), own].flatMap((each) =>
    each === own ? ownGaps(field, sent, own, pair) : gapsAt(field, sent, each, pair),
  )
  const choices = schemasIn({ anyOf }, 'anyOf') ?? schemasIn({ oneOf }, 'oneOf')
  if (choices === null) return gaps
  const meant = choices.filter((choice) => tagged(sent, resolved(pair.taken, choice)))
  return [...gaps, ...fewest((meant.length === 0 ? choices : meant).map((each) => gapsAt(field, sent, each, pair)))]
}

/** Whether an alternative has the tag that is sent, as in `{ kind: 'mail', … }`: then it is the one that is meant. */
function tagged(sent: JsonSchema, choice: AnySchema | undefined): boolean {
  if (typeof choice !== 'object') return false
  const fields = schemasUnder(sent, 'properties')
  const tags = [...schemasUnder(choice, 'properties')].filter(([, tag]) => typeof tag === 'object' && 'const' in tag)
  return tags.length > 0 && tags.every(([name, tag]) => gapsBetween(fields.get(name) ?? true, tag).length === 0)
}

/** Gaps by the keywords of the schema itself. */
function ownGaps(field: string, sent: JsonSchema, taken: JsonSchema, pair: Pair): readonly Gap[] {
  const opaque = OPAQUE.filter((key) => key in taken && !isDeepStrictEqual(taken[key], sent[key]))
  const found = opaque.map((key) => unclear(field, key))
  const values = valueGaps(field, sent, taken)
  if (values !== null) return [...found, ...values]
  const types = typeGaps(field, sent, taken)
  if (types.length > 0) return [...found, ...types]
  return [
    ...found,
    ...boundGaps(field, sent, taken),
    ...objectGaps(field, sent, taken, pair),
    ...arrayGaps(field, sent, taken, pair),
  ]
}

/** Gaps of what is listed value by value on either side; null when receivers list nothing. */
function valueGaps(field: string, sent: JsonSchema, taken: JsonSchema): readonly Gap[] | null {
  const takenValues = 'const' in taken || 'enum' in taken ? valuesOf(taken) : null
  if (takenValues === null) return null
  const sentValues = valuesOf(sent)
  const known = takenValues.map((value) => JSON.stringify(value)).join(', ')
  if (sentValues === null)
    return [gap(field, `may be any ${typesOf(sent).join(' or ')}, but receivers know only ${known}`, 'keep to these')]
  return sentValues
    .filter((value) => !includes(takenValues, value))
    .map((value) =>
      gap(field, `may be ${JSON.stringify(value)}, but receivers know only ${known}`, 'let receivers take it first'),
    )
}

function typeGaps(field: string, sent: JsonSchema, taken: JsonSchema): readonly Gap[] {
  const takenTypes = typesOf(taken)
  const takes = (type: string): boolean =>
    takenTypes.includes(type) || (type === 'integer' && takenTypes.includes('number'))
  const refused = typesOf(sent).filter((type) => !takes(type))
  if (refused.length === 0) return []
  return [
    gap(
      field,
      `may be ${refused.join(' or ')}, but receivers take only ${takenTypes.join(' or ')}`,
      'let receivers take both',
    ),
  ]
}

/** Keywords of the least and of the most. */
const LEAST = ['minLength', 'minItems', 'minProperties', 'minimum', 'exclusiveMinimum']
const MOST = ['maxLength', 'maxItems', 'maxProperties', 'maximum', 'exclusiveMaximum']
/** Keywords that must be the same where receivers have them. */
const SAME = ['pattern', 'format', 'multipleOf', 'uniqueItems', 'propertyNames']

function boundGaps(field: string, sent: JsonSchema, taken: JsonSchema): readonly Gap[] {
  const found: Gap[] = []
  for (const key of [...LEAST, ...MOST]) {
    const bound = numberIn(taken, key)
    if (bound === undefined || isWhole(sent, bound) || bounded(sent, key, bound)) continue
    const own = numberIn(sent, key)
    const wrong = `has ${key} ${bound} at receivers, but ${own === undefined ? 'none' : own} at senders`
    found.push(gap(field, wrong, 'widen it at receivers'))
  }
  for (const key of SAME) {
    if (!(key in taken) || taken[key] === false || isDeepStrictEqual(taken[key], sent[key])) continue
    const wrong = `has ${key} ${JSON.stringify(taken[key])} at receivers, but ${key in sent ? JSON.stringify(sent[key]) : 'none'} at senders`
    found.push({ ...gap(field, wrong, 'drop it at receivers'), certain: !(key in sent) })
  }
  return found
}

/** Whether what is sent keeps within a bound. */
function bounded(sent: JsonSchema, key: string, bound: number): boolean {
  const least = LEAST.includes(key)
  const [open, closed] = least ? ['exclusiveMinimum', 'minimum'] : ['exclusiveMaximum', 'maximum']
  const within = (own: number | undefined, strictly: boolean): boolean =>
    own !== undefined && (own === bound ? !strictly : least === own > bound)
  if (key === closed) return within(numberIn(sent, closed), false) || within(numberIn(sent, open), false)
  if (key === open) return within(numberIn(sent, open), false) || within(numberIn(sent, closed), true)
  return within(numberIn(sent, key), false)
}

/** Whether a bound only says that whole numbers are exact: some validators write it, and others do not. */
function isWhole(sent: JsonSchema, bound: number): boolean {
  return sent['type'] === 'integer' && Math.abs(bound) === Number.MAX_SAFE_INTEGER
}

function objectGaps(field: string, sent: JsonSchema, taken: JsonSchema, pair: Pair): readonly Gap[] {
  if (!typesOf(sent).includes('object')) return []
  const [sentFields, takenFields] = [schemasUnder(sent, 'properties'), schemasUnder(taken, 'properties')]
  const [always, needed] = [namesIn(sent, 'required'), namesIn(taken, 'required')]
  const [sentRest, takenRest] = [sent['additionalProperties'], taken['additionalProperties']]
  const found: Gap[] = []
  const inside = (name: string): string => (field === '' ? name : `${field}.${name}`)
  for (const name of needed)
    if (!always.has(name))
      found.push(
        gap(
          inside(name),
          `${sentFields.has(name) ? 'may be left out' : 'is not written'} by senders, but receivers require it`,
          'make it optional or give it a default',
        ),
      )
  for (const [name, schema] of takenFields) {
    const other = sentFields.get(name) ?? (isSchema(sentRest) && sentRest !== true ? sentRest : false)
    found.push(...gapsAt(inside(name), other, schema, pair))
  }
  for (const [name, schema] of sentFields) {
    if (takenFields.has(name) || !isSchema(takenRest)) continue
    if (takenRest === false)
      found.push(
        gap(inside(name), 'is refused by receivers, who take no unknown fields', 'let receivers pass over them'),
      )
    else found.push(...gapsAt(inside(name), schema, takenRest, pair))
  }
  if (isSchema(sentRest) && sentRest !== true && isSchema(takenRest))
    found.push(...gapsAt(inside('*'), sentRest, takenRest, pair))
  return found
}

function arrayGaps(field: string, sent: JsonSchema, taken: JsonSchema, pair: Pair): readonly Gap[] {
  if (!typesOf(sent).includes('array')) return []
  const [sentFirst, takenFirst] = [schemasIn(sent, 'prefixItems') ?? [], schemasIn(taken, 'prefixItems') ?? []]
  const [sentItems, takenItems] = [sent['items'] ?? true, taken['items'] ?? true]
  if (!isSchema(sentItems) || !isSchema(takenItems)) return [unclear(field, 'items')]
  const found = Array.from({ length: Math.max(sentFirst.length, takenFirst.length) }, (_, index) =>
    gapsAt(`${field}[${index}]`, sentFirst[index] ?? sentItems, takenFirst[index] ?? takenItems, pair),
  )
  return [...found.flat(), ...gapsAt(`${field}[]`, sentItems, takenItems, pair)]
}

/** Several schemas that all hold, as one: fields together, of other keywords the last. */
function merged(schema: JsonSchema, parts: readonly AnySchema[], root: AnySchema): JsonSchema {
  const { allOf: _, ...own } = schema
  const objects = [...parts.map((part) => resolved(root, part)), own].filter((part) => typeof part === 'object')
  const properties = Object.assign({}, ...objects.map((part) => part['properties'])) as JsonSchema
  const required = [...new Set(objects.flatMap((part) => [...namesIn(part, 'required')]))]
  return { ...(Object.assign({}, ...objects) as JsonSchema), properties, required }
}

function resolved(root: AnySchema, schema: AnySchema): AnySchema | undefined {
  if (typeof schema === 'boolean' || typeof schema['$ref'] !== 'string') return schema
  return referred(root, schema['$ref'])
}

function fewest(choices: readonly (readonly Gap[])[]): readonly Gap[] {
  return choices.toSorted((a, b) => a.length - b.length)[0] ?? []
}

function unique(gaps: readonly Gap[]): readonly Gap[] {
  return [...new Map(gaps.map((each) => [`${each.field} ${each.wrong}`, each])).values()]
}

function gap(field: string, wrong: string, remedy: string): Gap {
  return { field, wrong, remedy, certain: true }
}

function unclear(field: string, keyword: string): Gap {
  return { field, wrong: `has ${keyword}, which cannot be compared`, remedy: 'look at it yourself', certain: false }
}
