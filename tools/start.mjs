// `npm start -- [options]`: sets the project up when needed and becomes `stathmos up [options]`. In this
// same process, so that signals and the exit code need no forwarding.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root, setUp } from './set-up.mjs'

setUp()
const main = join(root, 'packages/broker/dist/cli/main.js')
process.argv = [process.argv[0], main, 'up', ...process.argv.slice(2)]
await import(pathToFileURL(main).href)
