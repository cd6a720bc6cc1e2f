import { type Method, REPLY } from '@stathmos/wire/amqp'

import type { ConnectionScope } from '../connection-scope.ts'
import { replyText } from '../errors.ts'

/** The client has a new password or token, and goes on if it is right. */
export function updateSecret(
  connection: ConnectionScope,
  { newSecret }: Extract<Method, { name: 'connection.update-secret' }>,
): void {
  const { user, transport } = connection
  const secret = new TextDecoder().decode(newSecret)
  const done = connection.hold()
  const refuse = (): void => {
    const text = 'New secret was refused by one of the backends'
    connection.closeWith(REPLY.notAllowed, replyText(REPLY.notAllowed, text), 0)
  }
  connection.context.world.authenticator.verify(user!, secret, transport.peer).then(
    (right) => {
      if (connection.over) return
      if (right) connection.send(0, { name: 'connection.update-secret-ok' })
      else refuse()
      done()
    },
    () => {
      if (connection.over) return
      refuse()
      done()
    },
  )
}
