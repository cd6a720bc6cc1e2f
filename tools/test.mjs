// `npm test -- [vitest options]`: sets the project up when needed and runs every suite that needs only Node.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { root, setUp } from './set-up.mjs'

const SUITES = ['unit', 'architecture', 'conformance', 'simulation', 'fault']

setUp()
const options = process.argv.slice(2)
const chosen = options.some((option) => option.startsWith('--project'))
const projects = chosen ? [] : SUITES.flatMap((suite) => ['--project', suite])
const vitest = spawn(process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...projects, ...options], {
  cwd: root,
  stdio: 'inherit',
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => vitest.kill(signal))
vitest.on('exit', (code) => process.exit(code ?? 1))
