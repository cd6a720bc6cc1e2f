import type { StandardSchemaV1 } from '@standard-schema/spec'
import { declared, define, type ContractOptions, type DeclaredContract } from './declaration.ts'

/** Something to be done, by the one service that owns it. */
export type Command<Name extends string, In, Out = In> = DeclaredContract<'command', Name, In, Out>

/**
 * Declares a command.
 *
 * @param name what is to be done: `ticket.close`
 * @param schema of zod, valibot, arktype or any other validator with a Standard Schema
 * @throws {SdkError} `invalid_declaration`
 */
export function command<const Name extends string, S extends StandardSchemaV1>(
  name: Name,
  schema: S,
  options: ContractOptions = {},
): Command<Name, StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>> {
  return declared(define('command', name, schema, options))
}
