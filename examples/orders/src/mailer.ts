// Stands for a mail provider: every mail is a file, and it is down while there is a file called mailer-is-down.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { directory } from './database.ts'

export interface Mail {
  readonly to: string
  readonly text: string
  /** Of mails with the same key the provider sends one. */
  readonly idempotencyKey: string
}

const mails = join(directory, 'mails')
mkdirSync(mails, { recursive: true })

export async function sendMail({ to, text, idempotencyKey }: Mail): Promise<void> {
  if (existsSync(join(directory, 'mailer-is-down'))) throw new Error('the mailer does not answer')
  const file = join(mails, `${encodeURIComponent(idempotencyKey)}.txt`)
  if (!existsSync(file)) writeFileSync(file, `To: ${to}\n\n${text}\n`)
}
