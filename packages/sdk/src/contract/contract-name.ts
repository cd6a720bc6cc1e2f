import { SdkError } from '../errors.ts'

/** Characters of a contract's name: it becomes part of names of queues, which have 255 bytes at most (AMQP 0-9-1 §4.2.5.3). */
const CONTRACT_NAME_CHARS_MAX = 100

const NAME = /^[a-z][a-z0-9]*(?:[.-][a-z0-9]+)*$/

/**
 * Refuses what cannot be a contract's name: lower-case words of letters and digits with dots and hyphens between them.
 *
 * @throws {SdkError} `invalid_declaration`
 */
export function assertContractName(name: string): void {
  if (name.length > CONTRACT_NAME_CHARS_MAX)
    throw new SdkError(
      'invalid_declaration',
      `the contract name "${name.slice(0, 20)}…" has ${name.length} characters; shorten it to ${CONTRACT_NAME_CHARS_MAX}`,
      { data: { name } },
    )
  if (!NAME.test(name))
    throw new SdkError(
      'invalid_declaration',
      `"${name}" is no contract name; write lower-case words with dots or hyphens between them, as in "ticket.submitted"`,
      { data: { name } },
    )
}
