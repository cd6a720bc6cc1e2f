import { REPLY, ProtocolError, decodeTable } from '@stathmos/wire/amqp'

/** Advertised in connection.start. */
export const MECHANISMS = 'PLAIN AMQPLAIN'

export interface Credentials {
  readonly user: string
  readonly password: string
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })

/**
 * User and password from a SASL response, or null for a response that is not of its mechanism.
 *
 * @throws {ProtocolError} 503 for a mechanism that was not offered
 */
export function readCredentials(mechanism: string, response: Uint8Array): Credentials | null {
  try {
    if (mechanism === 'PLAIN') return plain(response)
    if (mechanism === 'AMQPLAIN') return amqplain(response)
  } catch {
    // Not UTF-8, or not a table: whatever it is, nobody's password.
    return null
  }
  throw new ProtocolError(REPLY.commandInvalid, `mechanism ${MECHANISMS.replace(' ', ' or ')}`, 'another one', 0)
}

/** `[authorization identity] NUL user NUL password` (RFC 4616). The identity is not used, as in RabbitMQ. */
function plain(response: Uint8Array): Credentials | null {
  const userStart = response.indexOf(0) + 1
  const passwordStart = response.indexOf(0, userStart) + 1
  if (userStart === 0 || passwordStart === 0) return null
  return {
    user: UTF8.decode(response.subarray(userStart, passwordStart - 1)),
    password: UTF8.decode(response.subarray(passwordStart)),
  }
}

/** A table with LOGIN and PASSWORD, without the length that tables have elsewhere. */
function amqplain(response: Uint8Array): Credentials | null {
  const bytes = new Uint8Array(4 + response.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, response.length)
  bytes.set(response, 4)
  const table = decodeTable(bytes, view, 0, bytes.length)
  const user = table.get('LOGIN')
  const password = table.get('PASSWORD')
  if (user?.type !== 'S' || password?.type !== 'S') return null
  if (typeof user.value !== 'string' || typeof password.value !== 'string') return null
  return { user: user.value, password: password.value }
}
