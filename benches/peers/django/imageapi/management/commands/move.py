from datetime import timedelta

from django.core.management.base import BaseCommand
from django.db.models import F

from imageapi.models import Account, ExpiringLink, Tier


class Command(BaseCommand):
    help = "Moves what a test cannot wait for: an account to another tier, the links' end by some seconds."

    def add_arguments(self, parser):
        parser.add_argument("--account")
        parser.add_argument("--tier")
        parser.add_argument("--links-age-by", type=int, default=0)

    def handle(self, account, tier, links_age_by, **options):
        if account:
            tier = Tier.objects.get(name=tier)
            Account.objects.filter(user__username=account).update(tier=tier)
        if links_age_by:
            aged = F("expiration") - timedelta(seconds=links_age_by)
            ExpiringLink.objects.update(expiration=aged)
