import { isDeepStrictEqual } from 'node:util'

/** A JSON Schema (2020-12), as far as it is looked at here. */
export type JsonSchema = Readonly<Record<string, unknown>>

/** A schema, or one that takes everything or nothing. */
export type AnySchema = JsonSchema | boolean

export function isSchema(value: unknown): value is AnySchema {
  return typeof value === 'boolean' || (typeof value === 'object' && value !== null && !Array.isArray(value))
}

/** The schemas under a keyword like `properties`. */
export function schemasUnder(schema: JsonSchema, keyword: string): ReadonlyMap<string, AnySchema> {
  const value = schema[keyword]
  if (typeof value !== 'object' || value === null) return new Map()
  return new Map(Object.entries(value).filter((entry): entry is [string, AnySchema] => isSchema(entry[1])))
}

/** The schemas in a keyword like `anyOf`; null without it. */
export function schemasIn(schema: JsonSchema, keyword: string): readonly AnySchema[] | null {
  const value = schema[keyword]
  return Array.isArray(value) ? value.filter(isSchema) : null
}

export function namesIn(schema: JsonSchema, keyword: string): ReadonlySet<string> {
  const value = schema[keyword]
  return new Set(Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [])
}

export function numberIn(schema: JsonSchema, keyword: string): number | undefined {
  const value = schema[keyword]
  return typeof value === 'number' ? value : undefined
}

/** The values that it takes and no others; null when it is not said one by one. */
export function valuesOf(schema: JsonSchema): readonly unknown[] | null {
  if ('const' in schema) return [schema['const']]
  if (Array.isArray(schema['enum'])) return schema['enum']
  const { type } = schema
  return type === 'null' ? [null] : type === 'boolean' ? [true, false] : null
}

const TYPES = ['array', 'boolean', 'null', 'number', 'object', 'string']

/** The types of JSON that it takes. */
export function typesOf(schema: JsonSchema): readonly string[] {
  const { type } = schema
  if (typeof type === 'string') return [type]
  if (Array.isArray(type)) return type.filter((item) => typeof item === 'string')
  const values = valuesOf(schema)
  return values === null ? TYPES : [...new Set(values.map(typeOf))]
}

/** What a `$ref` within the document refers to; undefined when it leads elsewhere. */
export function referred(root: AnySchema, ref: string): AnySchema | undefined {
  if (ref === '#') return root
  if (!ref.startsWith('#/')) return undefined
  let at: unknown = root
  for (const part of ref.slice(2).split('/')) {
    if (typeof at !== 'object' || at === null) return undefined
    at = (at as Readonly<Record<string, unknown>>)[decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')]
  }
  return isSchema(at) ? at : undefined
}

export function includes(values: readonly unknown[], value: unknown): boolean {
  return values.some((item) => isDeepStrictEqual(item, value))
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return typeof value === 'number' && Number.isInteger(value) ? 'integer' : typeof value
}
