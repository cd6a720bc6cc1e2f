import type { StandardSchemaV1 } from '@standard-schema/spec'
import { SdkError } from '../errors.ts'
import type { BodyFormat } from './body-format.ts'
import {
  contractOf,
  define,
  firstOf,
  withBody,
  withKey,
  withSent,
  withVersion,
  type ContractOptions,
  type Declaration,
  type Definition,
  type Instance,
  type NextOptions,
} from './declaration.ts'
import { json } from './json-body.ts'
import { UNDECLARED_ERRORS, type DeclaredErrors, type Payload, type RequestContract } from './request-contract.ts'
import { read, write, type VersionDefinition } from './version-chain.ts'

type InputOf<S extends StandardSchemaV1> = StandardSchemaV1.InferInput<S>
type OutputOf<S extends StandardSchemaV1> = StandardSchemaV1.InferOutput<S>

/** The schemas of errors, by the errors' names. */
export type ErrorSchemas = Readonly<Record<string, StandardSchemaV1>>

/** The errors that schemas declare. */
export type ErrorsOf<Schemas extends ErrorSchemas> = {
  readonly [E in keyof Schemas]: DeclaredPayload<InputOf<Schemas[E]>, OutputOf<Schemas[E]>>
}

/** What a request is declared with. */
export interface RequestOptions<
  Input extends StandardSchemaV1,
  Output extends StandardSchemaV1,
  Errors extends ErrorSchemas,
> extends ContractOptions {
  readonly input: Input
  readonly output: Output
  /** What may be answered instead, by name. */
  readonly errors?: Errors
  /** The forms of what is answered; default JSON. That of the request itself is said by `.body()`. */
  readonly bodies?: { readonly output?: BodyFormat; readonly errors?: { readonly [E in keyof Errors]?: BodyFormat } }
}

/** How what is answered is written; it has one version, and changes only in ways that both sides can read. */
export interface DeclaredPayload<In, Out> extends Payload<In, Out> {
  readonly definition: VersionDefinition
}

/**
 * Something to be answered. Immutable: every method returns another one. What the methods do is said at
 * `DeclaredContract`; versions are those of what is asked.
 */
export interface Request<Name extends string, In, Out, AnswerIn, AnswerOut, Errors extends DeclaredErrors>
  extends RequestContract<Name, In, Out, AnswerIn, AnswerOut, Errors>, Declaration {
  readonly kind: 'request'
  readonly name: Name
  readonly answer: DeclaredPayload<AnswerIn, AnswerOut>
  key(of: (data: Out) => string): Request<Name, In, Out, AnswerIn, AnswerOut, Errors>
  next<S extends StandardSchemaV1>(
    schema: S,
    up: (old: Out) => InputOf<S>,
    options?: NextOptions<In, OutputOf<S>>,
  ): Request<Name, InputOf<S>, OutputOf<S>, AnswerIn, AnswerOut, Errors>
  body(format: BodyFormat): Request<Name, In, Out, AnswerIn, AnswerOut, Errors>
  sendAs(version: number): Request<Name, In, Out, AnswerIn, AnswerOut, Errors>
  trusting(): RequestContract<Name, In, In, AnswerIn, AnswerOut, Errors> & Declaration
  of(data: In): Instance<'request', Name, In>
}

const ERROR_NAME = /^[A-Za-z][\w-]{0,99}$/

/**
 * Declares a request: what is asked, what is answered, and which errors may be answered instead.
 *
 * @param name what is asked for: `experts.find`
 * @throws {SdkError} `invalid_declaration`
 */
export function request<
  const Name extends string,
  Input extends StandardSchemaV1,
  Output extends StandardSchemaV1,
  // oxlint-disable-next-line typescript/no-generated-empty-object-type -- a request without errors has none, not any
  Errors extends ErrorSchemas = Record<never, never>,
>(
  name: Name,
  options: RequestOptions<Input, Output, Errors>,
): Request<Name, InputOf<Input>, OutputOf<Input>, InputOf<Output>, OutputOf<Output>, ErrorsOf<Errors>> {
  const { input, output, bodies } = options
  const definition = define('request', name, input, options)
  const errors = Object.entries<StandardSchemaV1>(options.errors ?? {}).map(([error, schema]) => {
    assertErrorName(name, error)
    const format = bodies?.errors?.[error] ?? json
    return [error, payloadOf(`the error "${error}" of "${name}"`, `${name} error ${error}`, schema, format)] as const
  })
  return requestOf(
    definition,
    payloadOf(`the answer of "${name}"`, name, output, bodies?.output ?? json),
    Object.freeze(Object.fromEntries(errors)) as unknown as ErrorsOf<Errors>,
  )
}

function requestOf<Name extends string, In, Out, AnswerIn, AnswerOut, Errors extends DeclaredErrors>(
  definition: Definition<'request', Name>,
  answer: DeclaredPayload<AnswerIn, AnswerOut>,
  errors: Errors,
): Request<Name, In, Out, AnswerIn, AnswerOut, Errors> {
  return Object.freeze<Request<Name, In, Out, AnswerIn, AnswerOut, Errors>>({
    ...contractOf<'request', Name, In, Out>(definition),
    answer,
    errors,
    key: (of) => requestOf(withKey(definition, of), answer, errors),
    next: (schema, up, options) => requestOf(withVersion(definition, schema, up, options?.down), answer, errors),
    body: (format) => requestOf(withBody(definition, format), answer, errors),
    sendAs: (version) => requestOf(withSent(definition, version), answer, errors),
    trusting: () =>
      Object.freeze({ ...contractOf<'request', Name, In, In>({ ...definition, trusting: true }), answer, errors }),
  })
}

function payloadOf<In, Out>(
  what: string,
  type: string,
  schema: StandardSchemaV1,
  format: BodyFormat,
): DeclaredPayload<In, Out> {
  const chain = firstOf(what, schema, format, false)
  return Object.freeze<DeclaredPayload<In, Out>>({
    definition: chain.versions[0]!,
    async encode(data, id) {
      const { contentType, body } = await write(chain, 1, data, { id: id ?? null, type })
      return { version: 1, contentType, body }
    },
    decode: async (written) => (await read(chain, written, false, { id: written.id ?? null, type })) as Out,
  })
}

function assertErrorName(name: string, error: string): void {
  if ((UNDECLARED_ERRORS as readonly string[]).includes(error))
    throw new SdkError(
      'invalid_declaration',
      `"${name}" declares the error "${error}", which every request has already; choose another name`,
    )
  if (!ERROR_NAME.test(error))
    throw new SdkError(
      'invalid_declaration',
      `"${name}" declares the error "${error}"; write letters, digits, _ and -, at most 100, a letter first`,
    )
}
