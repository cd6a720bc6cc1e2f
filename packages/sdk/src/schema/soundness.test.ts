// The comparison of schemas against the validator itself: where it finds no gap, every value that fits one fits the other.
import {
  array,
  assert,
  boolean,
  constant,
  constantFrom,
  dictionary,
  integer,
  letrec,
  oneof,
  option,
  property,
  record,
  string,
  tuple,
  uniqueArray,
  type Arbitrary,
} from 'fast-check'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { JsonSchema } from './json-schema.ts'
import { gapsBetween } from './schema-gap.ts'

/** A schema, and the values that fit it. */
interface Shape {
  readonly schema: z.ZodType
  readonly values: Arbitrary<unknown>
}

const bounds = option(integer({ min: 0, max: 4 }), { nil: undefined })

const text = tuple(bounds, bounds).map(([min, more]): Shape => {
  const max = more === undefined ? undefined : (min ?? 0) + more
  let schema = z.string()
  if (min !== undefined) schema = schema.min(min)
  if (max !== undefined) schema = schema.max(max)
  return { schema, values: string({ unit: constantFrom('a', 'b'), minLength: min ?? 0, maxLength: max ?? 6 }) }
})

const number = tuple(bounds, boolean()).map(([min, whole]): Shape => {
  const schema = whole ? z.number().int() : z.number()
  const least = min ?? -9
  const values = whole ? integer({ min: least, max: 9 }) : integer({ min: least * 2, max: 18 }).map((n) => n / 2)
  return { schema: min === undefined ? schema : schema.min(min), values }
})

const words = uniqueArray(constantFrom('a', 'b', 'aa'), { minLength: 1 }).map((each): Shape => ({
  schema: z.enum(each as ['a']),
  values: constantFrom(...each),
}))

const leaf = oneof(
  text,
  number,
  words,
  constant<Shape>({ schema: z.null(), values: constant(null) }),
  constant<Shape>({ schema: z.boolean(), values: boolean() }),
)

interface Field {
  readonly name: string
  readonly shape: Shape
  readonly optional: boolean
}

function objectOf(fields: readonly Field[], strict: boolean): Shape {
  const schemas = fields.map(({ name, shape, optional }) => [name, optional ? shape.schema.optional() : shape.schema])
  const members = Object.fromEntries(schemas) as Record<string, z.ZodType>
  return {
    schema: strict ? z.strictObject(members) : z.object(members),
    values: record(Object.fromEntries(fields.map(({ name, shape }) => [name, shape.values])), {
      requiredKeys: fields.filter(({ optional }) => !optional).map(({ name }) => name),
    }),
  }
}

const listOf = ({ schema, values }: Shape): Shape => ({
  schema: z.array(schema),
  values: array(values, { maxLength: 3 }),
})

const mapOf = ({ schema, values }: Shape): Shape => ({
  schema: z.record(z.string(), schema),
  values: dictionary(constantFrom('a', 'b', 'c'), values),
})

const eitherOf = (one: Shape, two: Shape): Shape => ({
  schema: z.union([one.schema, two.schema]),
  values: oneof(one.values, two.values),
})

const { shape } = letrec<{ shape: Shape }>((tie) => ({
  shape: oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    tie('shape').map(listOf),
    tie('shape').map(mapOf),
    tuple(tie('shape'), tie('shape')).map(([one, two]) => eitherOf(one, two)),
    tuple(dictionary(constantFrom('a', 'b', 'c'), tuple(tie('shape'), boolean()), { maxKeys: 3 }), boolean()).map(
      ([fields, strict]) =>
        objectOf(
          Object.entries(fields).map(([name, [inner, optional]]) => ({ name, shape: inner, optional })),
          strict,
        ),
    ),
  ),
}))

/** What is sent and what is taken, alike but for details: those that get along are common, and so are those that do not. */
type Alike = readonly [sent: Shape, taken: Shape]

const { alike } = letrec<{ alike: Alike }>((tie) => ({
  alike: oneof(
    { depthSize: 'small', withCrossShrink: true },
    oneof(tuple(text, text), tuple(number, number), tuple(words, words), tuple(leaf, leaf)),
    tie('alike').map(([sent, taken]): Alike => [listOf(sent), listOf(taken)]),
    tie('alike').map(([sent, taken]): Alike => [mapOf(sent), mapOf(taken)]),
    tuple(tie('alike'), tie('alike')).map(([one, two]): Alike => [eitherOf(one[0], two[0]), eitherOf(two[1], one[1])]),
    tuple(
      dictionary(
        constantFrom('a', 'b', 'c'),
        tuple(tie('alike'), boolean(), boolean(), constantFrom('both', 'both', 'sent', 'taken')),
        { maxKeys: 3 },
      ),
      boolean(),
      boolean(),
    ).map(([fields, sentStrict, takenStrict]): Alike => {
      const entries = Object.entries(fields)
      const side = (index: 0 | 1, without: string): Field[] =>
        entries
          .filter(([, [, , , where]]) => where !== without)
          .map(([name, [pair, sent, taken]]) => ({ name, shape: pair[index], optional: index === 0 ? sent : taken }))
      return [objectOf(side(0, 'taken'), sentStrict), objectOf(side(1, 'sent'), takenStrict)]
    }),
  ),
}))

const jsonOf = ({ schema }: Shape): JsonSchema => z.toJSONSchema(schema, { io: 'input' }) as JsonSchema

test('where no gap is found, what fits the sender fits the receiver', () => {
  let compared = 0
  const cases = alike.chain(([sent, taken]) => {
    if (gapsBetween(jsonOf(sent), jsonOf(taken)).length > 0) return constant(null)
    return array(sent.values, { minLength: 1, maxLength: 5 }).map((values) => ({ sent, taken, values }))
  })
  assert(
    property(cases, (found) => {
      if (found === null) return
      compared++
      for (const value of found.values) {
        const { success } = found.taken.schema.safeParse(value)
        expect({ success, value, sent: jsonOf(found.sent), taken: jsonOf(found.taken) }).toMatchObject({
          success: true,
        })
      }
    }),
    { numRuns: 1000 },
  )
  expect(compared).toBeGreaterThan(200)
})

test('a schema has no gap to itself', () => {
  assert(
    property(shape, (one) => {
      expect(gapsBetween(jsonOf(one), jsonOf(one))).toEqual([])
    }),
  )
})
