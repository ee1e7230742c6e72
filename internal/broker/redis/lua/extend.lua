-- Lets keys live on. KEYS: any.
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, people)
end
return 1
