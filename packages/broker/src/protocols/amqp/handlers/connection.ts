import type { ConnectionScope } from '../connection-scope.ts'

/**
 * The client renews its secret. Made for tokens that expire; a password does not, so that there is nothing
 * to renew and, as in RabbitMQ with its own users, nothing to refuse.
 */
export function updateSecret(connection: ConnectionScope): void {
  connection.send(0, { name: 'connection.update-secret-ok' })
}
