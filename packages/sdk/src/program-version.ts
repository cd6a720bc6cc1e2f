import { SdkError } from './errors.ts'
import { isStorable } from './message/storable-text.ts'

/** Characters: it is in each entry of each error history. */
const VERSION_CHARS_MAX = 100

/**
 * What a service says of its program's version.
 *
 * @throws {SdkError} `invalid_declaration`
 */
export function programVersion(version: string | undefined): { readonly version?: string } {
  if (version === undefined) return {}
  if (typeof version === 'string' && version !== '' && version.length <= VERSION_CHARS_MAX && isStorable(version))
    return { version }
  throw new SdkError(
    'invalid_declaration',
    `${JSON.stringify(version)?.slice(0, VERSION_CHARS_MAX)} cannot be a service's version; give 1 to ${VERSION_CHARS_MAX} characters, like 1.4.2`,
  )
}
