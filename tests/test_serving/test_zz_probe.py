import sys, time, logging, collections
sys.path.insert(0,'.')
import orjson, pytest, warnings
from tests.test_serving import hostile
pytest_plugins = []
def test_probe(client, toy_engine, caplog):
    can = hostile.Canaries(1)
    def post(path, body):
        a = client.post(path, content=orjson.dumps(body)); return a.status_code, a.json()
    can.plant(post)
    import os
    N = int(os.environ.get("N","2000")); seed=int(os.environ.get("SEED","1"))
    seen = collections.Counter(); bad = collections.OrderedDict()
    slow = []
    for n, a in enumerate(hostile.attacks(seed, N)):
        t=time.perf_counter()
        try:
            content = iter([a.body]) if a.chunked else a.body
            r = client.request(a.method, a.path, content=content, headers={k: v.encode("latin-1") for k,v in a.headers.items()})
        except Exception as e:
            bad.setdefault(("raise", type(e).__name__, str(e)[:80]), (a.method,a.path,a.body[:300],a.headers)); continue
        dt=time.perf_counter()-t
        if dt>0.3: slow.append((round(dt,2), a.method, a.path, a.body[:80], len(a.body)))
        seen[r.status_code]+=1
        if r.status_code>=500: 
            rec = [x for x in caplog.records if x.exc_info]
            key = repr(rec[-1].exc_info[1])[:150] if rec else r.text[:100]
            bad.setdefault((a.path, key), (a.body[:300], a.headers))
        caplog.clear()
        if can.leaked(r.content): bad.setdefault(("LEAK", a.path), (a.body[:300], r.content[:300]))
        if len(r.content)>200_000: bad.setdefault(("BIG", a.path, len(r.content)//100000), (a.body[:100],))
    print(seen)
    for k,v in bad.items(): print(k, v)
    for s in sorted(slow, reverse=True)[:15]: print(s)
