// A device whose adbd is @devicefarmer/adbkit's, in front of one that an adb server on this host knows: it
// demands a key of whoever comes, and never met our code.
//
//   node adb-device.mjs SERIAL PORT knows BASE64     lets the owner of that key in
//                              ... accepts MILLIS    as if somebody accepted the key so much later
//                              ... refuses           as if somebody refused it
//                              ... ignores           as if nobody looked
//
// Writes `listening`, and each key that it was asked to accept with its comment.
import adbkit from '@devicefarmer/adbkit';

const [serial, port, manner, detail] = process.argv.slice(2);
const { Adb } = adbkit;
const client = Adb.createClient({ host: '127.0.0.1', port: 5037 });

const decide = {
  knows: async () => { throw new Error('it is another'); },
  accepts: () => new Promise((done) => { setTimeout(done, Number(detail)); }),
  refuses: async () => { throw new Error('no'); },
  ignores: () => new Promise(() => {}),
}[manner];
const known = manner === 'knows' ? [await Adb.util.parsePublicKey(detail)] : [];

client
  .createTcpUsbBridge(serial, {
    knownPublicKeys: known,
    auth: (key) => {
      console.log(`asked ${key.n.bitLength()} ${key.e} ${key.comment}`);
      return decide(key);
    },
  })
  .on('error', (error) => console.error(error))
  .on('listening', () => console.log('listening'))
  .listen(Number(port), '127.0.0.1');
