import { timingSafeEqual } from 'node:crypto'
import type { Random } from '@stathmos/std'
import type { KeyDeriver } from './key-deriver.ts'
import {
  formatPasswordHash,
  KEY_BYTES,
  parsePasswordHash,
  SALT_BYTES,
  SCRYPT_COST,
  type PasswordHash,
} from './password-hash.ts'

/** Makes and checks the stored form of passwords. */
export interface Passwords {
  /** The text to store. @throws when no key can be derived now */
  hash(password: string): Promise<string>
  /**
   * Whether the password is the one that was stored. Takes as long for a user who does not exist (`undefined`) as for
   * one who does, so that time tells nothing. Null when the broker has more to check than it can.
   */
  matches(password: string, stored: string | undefined): Promise<boolean | null>
}

export function openPasswords(deriver: KeyDeriver, random: Random): Passwords {
  const nobody: PasswordHash = { ...SCRYPT_COST, salt: random.bytes(SALT_BYTES), key: random.bytes(KEY_BYTES) }
  return {
    async hash(password) {
      const salt = random.bytes(SALT_BYTES)
      const key = await deriver.derive({ password, salt, ...SCRYPT_COST, keyBytes: KEY_BYTES })
      if (key === null) throw new Error('no password can be hashed now; try again')
      return formatPasswordHash({ ...SCRYPT_COST, salt, key })
    },
    async matches(password, stored) {
      const found = stored === undefined ? undefined : parsePasswordHash(stored)
      const { n, r, p, salt, key: expected } = found ?? nobody
      const key = await deriver.derive({ password, salt, n, r, p, keyBytes: expected.length })
      if (key === null) return null
      const equal = timingSafeEqual(key, expected)
      return equal && found !== undefined
    },
  }
}
