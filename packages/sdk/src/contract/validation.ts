import type { StandardSchemaV1 } from '@standard-schema/spec'
import { SdkError } from '../errors.ts'

/** Issues that are told in an error's text, and kept in its data: data that is wrong everywhere says no more than this. */
const ISSUES_TOLD = 3
const ISSUES_KEPT = 20

/** What a validator found wrong. */
export interface Issue {
  /** `items[2].name`; empty for the whole. */
  readonly path: string
  readonly message: string
}

/**
 * What the validator makes of the data.
 *
 * @param what for the error: `"ticket.submitted" version 2`
 * @throws {SdkError} `invalid_data` with the issues, also when the validator itself throws
 */
export async function validated(schema: StandardSchemaV1, data: unknown, what: string): Promise<unknown> {
  let result: StandardSchemaV1.Result<unknown>
  try {
    result = await schema['~standard'].validate(data)
  } catch (cause) {
    throw invalid(what, [{ path: '', message: textOf(cause) }], cause)
  }
  if (result.issues === undefined) return result.value
  throw invalid(
    what,
    result.issues.map(({ path, message }) => ({ path: pathOf(path ?? []), message })),
  )
}

/** An `invalid_data` that names the first issues and keeps more of them. */
export function invalid(what: string, issues: readonly Issue[], cause?: unknown): SdkError {
  return new SdkError('invalid_data', `the data is not what ${what} declares: ${inWords(issues)}`, {
    data: { issues: issues.slice(0, ISSUES_KEPT) },
    cause,
  })
}

/**
 * An error without anything of the data in it: validators quote what they refuse, and errors are logged and stored where
 * the data is not to be read. Where it is wrong is still told.
 */
export function discreet(error: unknown, what: string): unknown {
  if (!(error instanceof SdkError) || error.code !== 'invalid_data') return error
  const paths = ((error.data['issues'] ?? []) as readonly Issue[]).map(({ path }) => ({ path, message: 'is refused' }))
  const where = paths.length === 0 ? '' : ` (${inWords(paths)})`
  return new SdkError(
    'invalid_data',
    `the data is not what ${what} declares${where}; what is wrong with it is not told, because its bodies are encrypted: validate it beforehand to see`,
    { data: { issues: paths } },
  )
}

/** The issues of an {@link invalid}, in words. */
export function told({ data }: SdkError): string {
  return inWords(data['issues'] as readonly Issue[])
}

function inWords(issues: readonly Issue[]): string {
  const first = issues
    .slice(0, ISSUES_TOLD)
    .map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
    .join('; ')
  return issues.length > ISSUES_TOLD ? `${first}; and ${issues.length - ISSUES_TOLD} more` : first
}

/** What somebody threw, in a few words. */
export function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

function pathOf(path: readonly (PropertyKey | StandardSchemaV1.PathSegment)[]): string {
  return path
    .map((segment) => (typeof segment === 'object' ? segment.key : segment))
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index === 0 ? '' : '.'}${String(key)}`))
    .join('')
}
