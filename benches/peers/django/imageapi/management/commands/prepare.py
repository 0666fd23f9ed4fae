from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand

from imageapi.models import Account, Tier

TIERS = [
    Tier(name="Basic", heights=[200]),
    Tier(name="Premium", heights=[200, 400], original_access=True),
    Tier(name="Enterprise", heights=[200, 400], original_access=True, expiring_links=True),
]


class Command(BaseCommand):
    help = "Makes the tables, the tiers and the superuser admin/admin."

    def handle(self, **options):
        # the accounts' table first: this app's tables, which have no migrations, refer to it
        call_command("migrate", verbosity=0)
        call_command("migrate", run_syncdb=True, verbosity=0)
        Tier.objects.bulk_create(TIERS)
        admin = User.objects.create_superuser("admin", password="admin")
        Account.objects.create(user=admin, tier=Tier.objects.get(name="Enterprise"))
