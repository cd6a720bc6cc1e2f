// Checks that every package, as npm would pack it, can be imported by strangers.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { root } from './set-up.mjs'

let problems = 0
for (const name of readdirSync(join(root, 'packages'))) {
  const { messages, pkg } = await publint({ pkgDir: join(root, 'packages', name), strict: true, pack: 'npm' })
  for (const message of messages) {
    problems++
    console.error(`${pkg.name}: ${formatMessage(message, pkg)}`)
  }
}
console.log(problems === 0 ? 'publint: every package is fit to publish' : `publint: ${problems} problems`)
process.exitCode = problems === 0 ? 0 : 1
