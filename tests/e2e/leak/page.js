// Everything that a page can do to reach somebody by another road than the proxy. `aim` says where:
// { ice, urls, names, quic }. Answers what came of it; whether anything left is counted outside.
async (aim) => {
  const tried = {};
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const attempt = async (what, work) => {
    try {
      tried[what] = String((await Promise.race([work(), pause(4000)])) ?? 'no answer');
    } catch (refusal) {
      tried[what] = `refused: ${refusal.name}`;
    }
  };

  const gathered = async (server) => {
    const peer = new RTCPeerConnection(server ? { iceServers: [server] } : {});
    const found = [];
    peer.onicecandidate = ({ candidate }) => candidate && found.push(candidate.candidate);
    peer.createDataChannel('x');
    await peer.setLocalDescription(await peer.createOffer());
    await pause(3000);
    // Somebody to connect to, in UDP and in TCP, as if a far page had offered itself.
    const far = aim.candidates.map((line) => ({ candidate: line, sdpMid: '0', sdpMLineIndex: 0 }));
    const other = new RTCPeerConnection();
    await other.setRemoteDescription(peer.localDescription);
    await other.setLocalDescription(await other.createAnswer());
    await peer.setRemoteDescription(other.localDescription);
    for (const candidate of far) await peer.addIceCandidate(candidate).catch(() => 0);
    await pause(1500);
    peer.close();
    other.close();
    return found.join(' | ') || 'no candidate';
  };
  await Promise.all(
    [null, ...aim.ice].map((server) =>
      attempt(`webrtc ${server?.urls ?? 'without a server'}`, () => Promise.race([gathered(server), pause(9000)])),
    ),
  );

  for (const name of aim.names) {
    for (const rel of ['dns-prefetch', 'preconnect', 'prefetch', 'preload', 'stylesheet']) {
      const link = document.createElement('link');
      Object.assign(link, { rel, href: `http://${rel}.${name}/`, as: 'image' });
      document.head.append(link);
      tried[`${rel} of ${name}`] = 'asked';
    }
    await attempt(`fetch of ${name}`, () => fetch(`http://${name}/`, { mode: 'no-cors' }));
  }

  const signal = AbortSignal.timeout(30_000);
  await Promise.all(
    aim.urls.map(async (url) => {
      await attempt(`fetch of ${url}`, () => fetch(url, { mode: 'no-cors', signal }));
      await attempt(`websocket to ${url}`, () =>
        new Promise((done) => {
          const socket = new WebSocket(url.replace('http', 'ws'));
          socket.onopen = () => done('open');
          socket.onerror = () => done('error');
        }),
      );
      await attempt(`beacon to ${url}`, async () => navigator.sendBeacon(url, 'x'));
      await attempt(`frame of ${url}`, async () => {
        const frame = document.createElement('iframe');
        frame.src = url;
        document.body.append(frame);
        await pause(500);
        frame.remove();
        return 'asked';
      });
    }),
  );

  for (const url of aim.quic) {
    await attempt(`webtransport to ${url}`, async () => {
      await new WebTransport(url).ready;
      return 'ready';
    });
    for (let times = 0; times < 3; times += 1) {
      await attempt(`fetch ${times} of ${url}`, async () => {
        const answer = await fetch(url);
        return `${answer.status} ${await answer.text()}`;
      });
    }
  }
  return tried;
}
