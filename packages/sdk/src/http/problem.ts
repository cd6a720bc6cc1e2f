import { SdkError, type SdkErrorCode } from '../errors.ts'

/** What the caller is answered instead (RFC 9457). `code` is what programs branch on; the texts are for people. */
export interface Problem {
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly code: string
  /** What a validator complains of, and where. */
  readonly issues?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}

/** Seconds after which a caller may try again what the surroundings did not allow. */
const RETRY_AFTER_S = 5

export function problem(
  status: number,
  code: string,
  detail: string,
  more: Pick<Problem, 'issues' | 'headers'> = {},
): Problem {
  return { status, title: TITLES[status] ?? 'Error', detail, code, ...more }
}

/** Of errors that are the caller's own; what is the service's is none of the caller's business. */
const STATUSES: Partial<Record<SdkErrorCode, number>> = {
  invalid_data: 422,
  refused: 422,
  too_large: 413,
  invalid_declaration: 400,
}

export function problemOf(error: unknown): Problem {
  if (!(error instanceof SdkError))
    return problem(500, 'internal', 'the message was not accepted; the service’s log says why')
  const { code, data, message, retryable } = error
  const status = STATUSES[code]
  if (status !== undefined)
    return problem(status, code, message, data['issues'] === undefined ? {} : { issues: data['issues'] })
  if (retryable || code === 'overloaded')
    return problem(503, code, 'the message cannot be stored at the moment; send it again with the same key', {
      headers: { 'retry-after': String(RETRY_AFTER_S) },
    })
  return problem(500, 'internal', 'the message was not accepted; the service’s log says why')
}
