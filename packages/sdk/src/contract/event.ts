import type { StandardSchemaV1 } from '@standard-schema/spec'
import { declared, define, type ContractOptions, type DeclaredContract } from './declaration.ts'

/** Something that happened, told to whoever subscribed. */
export type Event<Name extends string, In, Out = In> = DeclaredContract<'event', Name, In, Out>

/**
 * Declares an event.
 *
 * @param name what happened, in the past: `ticket.submitted`
 * @param schema of zod, valibot, arktype or any other validator with a Standard Schema
 * @throws {SdkError} `invalid_declaration`
 */
export function event<const Name extends string, S extends StandardSchemaV1>(
  name: Name,
  schema: S,
  options: ContractOptions = {},
): Event<Name, StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>> {
  return declared(define('event', name, schema, options))
}
